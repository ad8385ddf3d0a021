package import DatasetStore

/// Bytes of a snapshot's files, for whoever finds records in them. Called from several threads.
package protocol FileBytes: Sendable {
    /// Fills `buffer` from `offset` on, or up to the file's end; returns the bytes read.
    ///
    /// - Parameter ordinal: of the file's entry in the snapshot; a hard link stands for its target.
    func read(
        _ ordinal: UInt64, at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer
    ) throws(StoreError) -> Int
}

/// Whole files of a snapshot, from begin to end. Called from several threads.
package protocol FileStreams: Sendable {
    /// Hands a file's bytes to `sink`, in order, which answers how many of those that follow it can do without: some or
    /// all of them may be left out.
    func stream(
        _ ordinal: UInt64, size: UInt64,
        _ sink: (_ offset: UInt64, _ bytes: UnsafeRawBufferPointer) throws(RecordIndexError) -> UInt64
    ) throws(RecordIndexError)
}

/// Files that are read piece by piece.
struct PulledFiles: FileStreams {
    let source: any FileBytes

    private static let pieceBytes: UInt64 = 1 << 20
    /// Less is read rather than jumped over: a store sends its bytes in pieces of about this length anyway.
    private static let shortestJump: UInt64 = 1 << 20

    func stream(
        _ ordinal: UInt64, size: UInt64,
        _ sink: (_ offset: UInt64, _ bytes: UnsafeRawBufferPointer) throws(RecordIndexError) -> UInt64
    ) throws(RecordIndexError) {
        let buffer = UnsafeMutableRawBufferPointer.allocate(
            byteCount: Int(min(size, Self.pieceBytes)), alignment: 4096)
        defer { unsafe buffer.deallocate() }
        var offset: UInt64 = 0
        while offset < size {
            let wanted = Int(min(size - offset, UInt64(buffer.count)))
            let count: Int
            do throws(StoreError) {
                count = try unsafe source.read(
                    ordinal, at: offset, into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<wanted]))
            } catch { throw RecordIndexError(reading: error, at: offset) }
            guard count > 0, count <= wanted else {
                throw RecordIndexError(
                    .damaged, "the file has fewer bytes than the snapshot says", offset: offset,
                    remedy: "Run `kaml check`")
            }
            let idle = try unsafe sink(offset, UnsafeRawBufferPointer(rebasing: buffer[..<count]))
            offset += UInt64(count)
            if idle >= Self.shortestJump { offset += min(idle, size - offset) }
        }
    }
}
