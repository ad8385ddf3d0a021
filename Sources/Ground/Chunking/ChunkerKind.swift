/// How a file is cut into chunks. Chosen once per file and recorded in its manifest entry; chunks are named
/// by their bytes alone, so files cut in different ways still share chunks.
package enum ChunkerKind: UInt8, Sendable, Hashable, CaseIterable {
    /// The file is one chunk: small files, up to `ChunkingParameters.wholeLimit`.
    case whole = 0
    /// Equal chunks: large binaries, where offset to chunk is a division and edits happen in place.
    case fixed = 1
    /// Content-defined cuts (`CDC`): bytes that get inserted or removed shift no other cut.
    case cdc = 2
    /// Cuts at record ends of a TFRecord file (`RecordFraming`), so re-sharded records keep their chunks.
    case record = 3

    /// The name in `store.json`, JSON output and messages.
    package var name: String {
        switch self {
        case .whole: "whole"
        case .fixed: "fixed"
        case .cdc: "cdc"
        case .record: "record"
        }
    }
}
