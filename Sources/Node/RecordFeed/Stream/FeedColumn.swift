import CKamlFeed
package import RecordIndex

/// A column of a stream, as its batches hold it.
package struct FeedColumn: Hashable, Sendable {
    package enum Layout: Hashable, Sendable {
        /// Entries.
        case bytes
        /// Numbers of 64 bits.
        case number
        /// Values of one width, side by side.
        case dense

        var kind: kaml_column_kind {
            switch self {
            case .bytes: KAML_COLUMN_BYTES
            case .number: KAML_COLUMN_INT64
            case .dense: KAML_COLUMN_UINT8
            }
        }
    }

    package var name: String
    /// In the index.
    package var number: Int
    package var source: RecordColumn.Source
    package var layout: Layout
    /// Bytes of a record in a dense column, 0 otherwise.
    package var width: UInt32

    init(_ column: RecordColumn, number: Int) {
        name = column.name
        self.number = number
        source = column.source
        width = 0
        switch column.source {
        case .label: layout = .number
        case .path, .key: layout = .bytes
        case .file:
            layout = column.width > 0 ? .dense : .bytes
            width = column.width
        }
    }

    /// The columns that are asked for, in that order; all when none is named.
    ///
    /// - Throws: `FeedFailure` for one that is not there.
    package static func choose(
        _ names: [String], of all: [RecordColumn], in dataset: String
    ) throws(FeedFailure) -> [FeedColumn] {
        let known = all.enumerated().map { FeedColumn($0.element, number: $0.offset) }
        if names.isEmpty { return known }
        var chosen: [FeedColumn] = []
        for name in names {
            guard let column = known.first(where: { $0.name == name }) else {
                throw FeedFailure(
                    .notFound, "\(dataset) has no column \(name)",
                    remedy: "There are \(known.map(\.name).joined(separator: ", "))")
            }
            chosen.append(column)
        }
        return chosen
    }
}
