/// What a command answers: one tree of values for `-o json` and `-o yaml`, and text for people.
package protocol Report {
    var value: OutputValue { get }
    /// Lines, each with its end.
    func render() -> String
}

extension Report {
    package func rendered(as format: OutputFormat) -> String {
        switch format {
        case .table: render()
        case .json: JSONText.encode(value)
        case .yaml: YAMLText.encode(value)
        }
    }
}

extension Diagnosis: Report {}

/// Names and values in two columns.
package struct Facts: Report {
    package var value: OutputValue
    private var lines: [(String, String)] = []

    package init(_ value: OutputValue) { self.value = value }

    package mutating func add(_ name: String, _ text: String) { lines.append((name, text)) }

    package func render() -> String {
        var table = Table([.init(""), .init("")])
        for (name, text) in lines { table.add([name, text]) }
        return table.render()
    }
}

/// A sentence about something that was done.
package struct Done: Report {
    package var value: OutputValue
    private let text: String

    package init(_ text: String, _ value: OutputValue) {
        self.text = text
        self.value = value
    }

    package func render() -> String { text + "\n" }
}
