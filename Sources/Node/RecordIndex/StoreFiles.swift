package import DatasetStore

/// A snapshot's files straight from its store, verified: for whoever has no mount.
package struct StoreFiles: FileStreams {
    private let snapshot: Snapshot
    private let footers: PackFooters
    private let bases = PlainChunkCache()

    package init(_ store: Store, _ snapshot: Snapshot) {
        self.snapshot = snapshot
        footers = PackFooters(store)
    }

    package func stream(
        _ ordinal: UInt64, size: UInt64,
        _ sink: (_ offset: UInt64, _ bytes: UnsafeRawBufferPointer) throws(RecordIndexError) -> UInt64
    ) throws(RecordIndexError) {
        var offset: UInt64 = 0
        // A reader's sink can only throw what readers throw.
        var refusal: RecordIndexError?
        func give(_ bytes: UnsafeRawBufferPointer) throws(StoreError) {
            do throws(RecordIndexError) {
                _ = try unsafe sink(offset, bytes)
                offset += UInt64(bytes.count)
            } catch {
                refusal = error
                throw StoreError(.invalidInput, "the sink takes no more")
            }
        }
        do throws(StoreError) {
            guard let place = try snapshot.place(ofOrdinal: ordinal) else {
                throw StoreError(.notFound, "there is no entry \(ordinal) in the snapshot")
            }
            let resolved = try snapshot.resolve(place)
            let entry = unsafe resolved.shard.pointee.view.entry(resolved.index)
            var reader = FileReader(footers, bases: bases)
            try reader.read(entry) { piece throws(StoreError) in
                switch piece {
                case .bytes(let bytes): try unsafe give(bytes)
                case .hole(var left):
                    while left > 0 {
                        let count = Int(min(left, UInt64(Self.zeros.count)))
                        let outcome = unsafe Self.zeros.withUnsafeBytes { zeros in
                            Result { () throws(StoreError) in
                                try unsafe give(UnsafeRawBufferPointer(rebasing: zeros[..<count]))
                            }
                        }
                        try outcome.get()
                        left -= UInt64(count)
                    }
                }
            }
        } catch { throw refusal ?? RecordIndexError(reading: error, at: offset) }
    }

    private static let zeros = [UInt8](repeating: 0, count: 64 << 10)
}
