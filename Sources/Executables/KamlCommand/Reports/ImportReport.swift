import Chunking
package import DatasetStore
import ObjectStore
import System

/// What an import did, and which objects could not become files.
package struct ImportReport: Report {
    private let dataset: DatasetName
    private let branch: RefName
    private let tag: RefName?
    private let source: String
    private let result: ImportResult
    private let isCopy: Bool

    package init(_ options: ImportOptions, _ result: ImportResult) {
        dataset = options.dataset
        branch = options.branch
        tag = options.tag
        source = options.source.location
        isCopy = options.copies
        self.result = result
    }

    package var value: OutputValue {
        var object = OutputObject([
            "dataset": .string(dataset.text), "branch": .string(branch.text), "source": .string(source),
            "snapshot": .string(result.snapshot.hex), "changed": .bool(!result.nothingChanged),
            "copied": .bool(isCopy), "files": .unsigned(result.statistics.files),
            "bytes": .unsigned(result.statistics.bytes), "listedObjects": .unsigned(result.listedObjects),
            "listedBytes": .unsigned(result.listedBytes), "newObjects": .unsigned(result.newObjects),
            "newBytes": .unsigned(result.newBytes), "reusedObjects": .unsigned(result.reusedObjects),
            "packs": .unsigned(result.packs), "storedBytes": .unsigned(result.storedBytes),
            "skippedObjects": .unsigned(result.skipped.count),
            "skipped": .list(
                result.skipped.list.map { problem, keys in
                    [
                        "reason": .string(problem.rawValue), "detail": .string(problem.words),
                        "count": .unsigned(keys.count), "examples": Self.examples(keys),
                    ]
                }),
            "controlCharacters": [
                "count": .unsigned(result.oddKeys.count), "examples": Self.examples(result.oddKeys),
            ],
            "archived": [
                "count": .unsigned(result.archived.count), "examples": Self.examples(result.archived),
            ],
            "seconds": .seconds(result.seconds),
        ])
        object["tag"] = tag.map { .string($0.text) }
        object["sequence"] = result.sequence.map(OutputValue.unsigned)
        object["parent"] = result.parent.map { .string($0.hex) }
        return object.value
    }

    private static func examples(_ keys: KeySample) -> OutputValue {
        .list(
            keys.examples.map { key in
                var fields = OutputObject()
                fields.set("key", key)
                return fields.value
            })
    }

    package func render() -> String {
        let name = "\(dataset)@\(branch)"
        let contents =
            "\(CountText.of(result.statistics.files, "file")), \(BytesText.of(result.statistics.bytes))"
        var text: String
        if result.nothingChanged {
            text = "\(name) is unchanged at \(ShortID.of(result.snapshot)): \(contents)"
        } else {
            text = "\(name) is now \(ShortID.of(result.snapshot)): \(contents)\n"
            text += isCopy ? "new data \(BytesText.of(result.newBytes))" : references
            text += ", stored \(BytesText.of(result.storedBytes))"
            if result.reusedObjects > 0 {
                text += ", \(CountText.of(result.reusedObjects, "object")) as they were"
            }
        }
        text += ", in \(DurationText.of(result.seconds))\n"
        if let tag { text += "tag \(dataset)@\(tag)\n" }
        return text + remarks
    }

    private var references: String {
        "\(CountText.of(result.newObjects, "object")) of \(BytesText.of(result.newBytes)) referred to"
    }

    /// What a person should know of keys, with examples.
    private var remarks: String {
        var text = ""
        if result.skipped.count > 0 {
            text += "left out \(CountText.of(result.skipped.count, "object")):\n"
            for (problem, keys) in result.skipped.list {
                text += Self.remark("\(CountText.of(keys.count)) whose key \(problem.words)", keys)
            }
        }
        if result.oddKeys.count > 0 {
            text += Self.remark(
                "\(CountText.of(result.oddKeys.count, "key")) with control characters, kept as they are",
                result.oddKeys)
        }
        if result.archived.count > 0 {
            text += Self.remark(
                "\(CountText.of(result.archived.count, "object")) in an archive, unreadable until restored",
                result.archived)
        }
        return text
    }

    private static func remark(_ what: String, _ keys: KeySample) -> String {
        let shown = keys.examples.prefix(3).map { CellText.safe($0.description) }.joined(separator: ", ")
        return "  \(what): \(shown)\(keys.count > 3 ? ", ..." : "")\n"
    }
}
