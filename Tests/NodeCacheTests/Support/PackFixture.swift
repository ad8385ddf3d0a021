import Chunking
import DatasetStore
import KamlTestSupport
import ObjectStore
import System

/// A pack in a store, with the plain chunks that it must give back.
struct PackFixture: Sendable {
    var pack: PackReference
    var entries: [ChunkEntry]
    var chunks: [Plain]

    /// How one chunk is stored.
    enum Form: Sendable {
        case plain
        case zstd
        /// As a difference from a chunk of another pack.
        case prefix(PackFixture, Int)
    }

    static func write(
        _ chunks: [[UInt8]], forms: [Form] = [], layout: PackLayout = .slots, to store: any ObjectStore
    ) throws -> PackFixture {
        let writer = try PackWriter(id: PackID(random: HostRandom()), layout: layout, in: store)
        var encoder = FrameEncoder(level: 3)
        var entries: [ChunkEntry] = []
        var offset: UInt64 = 0
        for (index, chunk) in chunks.enumerated() {
            let form = index < forms.count ? forms[index] : Form.plain
            try chunk.withUnsafeBytes { bytes in
                var encoded = EncodedChunk(
                    hash: ContentHash.of(.chunk, bytes), plainLength: bytes.count, codec: .none,
                    payload: bytes)
                switch form {
                case .plain: break
                case .zstd:
                    if let payload = encoder.compress(bytes) {
                        encoded.codec = .zstd
                        encoded.payload = payload
                    }
                case .prefix(let base, let number):
                    base.chunks[number].bytes.withUnsafeBytes { prefix in
                        if let payload = encoder.compress(bytes, prefix: prefix) {
                            encoded.codec = .zstdPrefix
                            encoded.payload = payload
                            encoded.base = (base.pack, UInt32(number))
                        }
                    }
                }
                entries.append(try writer.append(encoded, fileOffset: layout == .file ? offset : nil))
            }
            offset += UInt64(chunk.count)
        }
        return PackFixture(pack: try writer.publish(), entries: entries, chunks: chunks.map(Plain.init))
    }

    /// Chunks of random bytes.
    static func random(
        _ lengths: [Int], seed: UInt64, layout: PackLayout = .slots, to store: any ObjectStore
    ) throws -> PackFixture {
        var random = SplitMix64(seed: seed)
        return try write(lengths.map { random.bytes($0) }, layout: layout, to: store)
    }

    /// A small file's hint, as the manifest has it.
    func hint(_ chunk: Int) -> ChunkEntry {
        var entry = entries[chunk]
        entry.base = nil
        return entry
    }
}

/// A chunk's bytes, told briefly when a test fails: a difference of arrays takes for ever.
struct Plain: Equatable, Sendable, CustomStringConvertible, CustomReflectable {
    let bytes: [UInt8]
    var count: Int { bytes.count }
    var description: String { "\(bytes.count) bytes \(ContentHash.of(.chunk, bytes).hex.prefix(12))" }
    var customMirror: Mirror { Mirror(self, children: []) }
}

/// Bytes that compress, and differ from seed to seed.
func text(_ count: Int, seed: UInt64) -> [UInt8] {
    var random = SplitMix64(seed: seed)
    let words = (0..<64).map { _ in random.bytes(6) }
    var bytes: [UInt8] = []
    while bytes.count < count { bytes += words[Int(random.next() % 64)] }
    return Array(bytes.prefix(count))
}

/// The same bytes with a few changed.
func edited(_ bytes: [UInt8], seed: UInt64) -> [UInt8] {
    var random = SplitMix64(seed: seed)
    var copy = bytes
    for _ in 0..<3 { copy[Int(random.next() % UInt64(copy.count))] ^= 0x5A }
    return copy
}
