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
