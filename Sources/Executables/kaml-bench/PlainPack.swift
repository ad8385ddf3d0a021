import Chunking
import DatasetStore

extension PackWriter {
    /// Appends bytes as a chunk of their own, not compressed. `fileOffset`: in packs of one large file.
    func appendPlain(_ bytes: [UInt8], fileOffset: UInt64? = nil) throws {
        try unsafe bytes.withUnsafeBytes { bytes in
            let chunk = unsafe EncodedChunk(
                hash: ContentHash.of(.chunk, bytes), plainLength: bytes.count, codec: .none, payload: bytes)
            _ = try append(chunk, fileOffset: fileOffset)
        }
    }
}
