import Chunking

/// Sections of older indexes, by the bytes that they are about: a new version of a dataset is only indexed where it differs.
struct KnownSections: Sendable {
    private struct Key: Hashable {
        let identity: ContentHash
        let size: UInt64
    }

    private let indexes: [RecordIndex]
    private var places: [Key: (index: Int, file: Int)] = [:]

    /// - Parameter indexes: of the same format, and lengths where it has some.
    init(_ indexes: [RecordIndex]) {
        self.indexes = indexes
        for (number, index) in indexes.enumerated() {
            for file in 0..<index.fileCount {
                guard let section = index.section(file), section.identity != .zero else { continue }
                places[Key(identity: section.identity, size: section.size)] = (number, file)
            }
        }
    }

    func piece(of file: SelectedFile) -> IndexPiece? {
        guard let place = places[Key(identity: file.identity, size: file.size)] else { return nil }
        return indexes[place.index].section(place.file).map { IndexPiece($0) }
    }
}
