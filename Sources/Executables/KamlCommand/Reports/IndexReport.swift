import Chunking
package import RecordIndex
import System

/// What a feed would give out.
package struct IndexReport: Report {
    private let dataset: String
    private let index: RecordIndex
    private let seconds: Double
    /// Where it was stored for all nodes.
    private let published: String?

    package init(_ dataset: String, _ index: RecordIndex, seconds: Double, published: String?) {
        (self.dataset, self.index, self.seconds, self.published) = (dataset, index, seconds, published)
    }

    package var value: OutputValue {
        var object = OutputObject([
            "dataset": .string(dataset), "snapshot": .string(index.snapshot.hex),
            "format": .string(index.format.name),
            "files": .unsigned(UInt64(index.fileCount)), "records": .unsigned(index.records),
            "bytes": .unsigned(index.bytes), "seconds": .seconds(seconds),
            "columns": .list(
                index.columns.map { column in
                    var object = OutputObject([
                        "name": .string(column.name), "kind": .string(column.kindName),
                    ])
                    if column.width > 0 { object["width"] = .unsigned(UInt64(column.width)) }
                    return object.value
                }),
        ])
        if index.format == .files {
            object["labels"] = .list(index.labelNames.map { .string($0.description) })
        }
        object["published"] = published.map(OutputValue.string)
        return object.value
    }

    package func render() -> String {
        var facts = Facts(value)
        facts.add("dataset", dataset)
        facts.add("snapshot", ShortID.of(index.snapshot))
        facts.add("format", index.format.name)
        facts.add("files", CountText.of(UInt64(index.fileCount)))
        facts.add("records", CountText.of(index.records))
        facts.add("bytes", BytesText.of(index.bytes))
        if index.records > 0 { facts.add("bytes a record", BytesText.of(index.bytes / index.records)) }
        facts.add(
            "columns",
            index.columns.map { CellText.safe($0.name) + " (" + $0.kindName + ")" }.joined(separator: ", "))
        if index.format == .files { facts.add("labels", CountText.of(UInt64(index.labelNames.count))) }
        if let published { facts.add("stored as", published) }
        return facts.render()
    }
}

extension RecordColumn {
    /// As a pod sees it.
    fileprivate var kindName: String {
        if width > 0 { return "uint8[\(width)]" }
        return source == .label ? "int64" : "bytes"
    }
}
