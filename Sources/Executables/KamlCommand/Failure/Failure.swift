/// Why a command did not do what it was asked to: what happened, why, and what to do next.
package struct Failure: Error, Sendable, Hashable {
    package var status: ExitStatus
    /// What happened, in one line.
    package var what: String
    /// What lies behind it.
    package var why: String?
    /// What the reader can do.
    package var hint: String?
    package var dataset: String?
    package var snapshot: String?
    package var path: String?
    /// The store's object, as its key.
    package var object: String?

    package init(
        _ status: ExitStatus, _ what: String, why: String? = nil, hint: String? = nil, dataset: String? = nil,
        snapshot: String? = nil, path: String? = nil, object: String? = nil
    ) {
        self.status = status
        self.what = what
        self.why = why
        self.hint = hint
        self.dataset = dataset
        self.snapshot = snapshot
        self.path = path
        self.object = object
    }

    /// Lines for people: `error:`, where and why indented below it, and `hint:`.
    package var text: String {
        var lines = ["error: " + CellText.safe(what)]
        let places = [
            dataset.map { ("dataset", $0) }, snapshot.map { ("snapshot", $0) }, path.map { ("path", $0) },
            object.map { ("object", $0) },
        ].compactMap(\.self)
        for (word, place) in places { lines.append("  \(word): \(CellText.safe(place))") }
        if let why { lines.append("  because: " + CellText.safe(why)) }
        if let hint { lines.append("hint: " + CellText.safe(hint)) }
        return lines.joined(separator: "\n") + "\n"
    }

    /// The object that `-o json` prints on stderr.
    package var value: OutputValue { ["error": errorValue] }

    package var errorValue: OutputValue {
        var error = OutputObject([
            "code": .string(status.word), "exitCode": .integer(Int64(status.rawValue)),
            "message": .string(what),
        ])
        error["cause"] = why.map(OutputValue.string)
        error["hint"] = hint.map(OutputValue.string)
        error["dataset"] = dataset.map(OutputValue.string)
        error["snapshot"] = snapshot.map(OutputValue.string)
        error["path"] = path.map(OutputValue.string)
        error["object"] = object.map(OutputValue.string)
        return error.value
    }

    package func rendered(as format: OutputFormat) -> String {
        switch format {
        case .table: text
        case .json: JSONText.encode(value)
        case .yaml: YAMLText.encode(value)
        }
    }
}
