import Chunking
import DatasetStore
import Glibc
import System

/// What first reads of a reference pack's chunks found out: their hashes, which no footer knows. Every later fetch and
/// check is held to them.
///
/// In a file beside the container, which outlives it: magic 8, version u32, chunk count u32, hash of the pack's footer
/// 32, zeros up to 64, then for each chunk its hash and a checksum u64 over hash and index. A record is written before the
/// chunk's bit; one that is lost or rotten is as good as none.
final class ReferenceHashes: Sendable {
    private static let magic: StaticString = "KAMLCHSH"
    private static let version: UInt32 = 1
    private static let headerLength = 64
    private static let recordLength = 40

    private let context: CacheContext
    private let pack: PackReference
    private let state: Monitor<State>

    private struct State: ~Copyable {
        var hashes: [ContentHash]
        var file: OpenHashes?
        var isChanged = false
    }

    /// Reads what an earlier life of the cache left.
    init(_ context: CacheContext, _ pack: PackReference) {
        self.context = context
        self.pack = pack
        let hashes = Self.load(context, pack) ?? Array(repeating: .zero, count: Int(pack.chunkCount))
        state = Monitor(State(hashes: hashes, file: nil))
    }

    /// Nil when the chunk was never read.
    func known(_ chunk: Int) -> ContentHash? {
        state.withLock { state in
            guard state.hashes.indices.contains(chunk), state.hashes[chunk] != .zero else { return nil }
            return state.hashes[chunk]
        }
    }

    /// Whether the record is in the file, too. Another hash than the one that is known is never taken.
    func record(_ chunk: Int, _ hash: ContentHash) -> Bool {
        state.withLock { state in
            guard state.hashes.indices.contains(chunk) else { return false }
            if state.hashes[chunk] != .zero { return state.hashes[chunk] == hash }
            guard context.hasDisk else { return false }
            do throws(Errno) {
                let file: OpenHashes
                if let known = state.file { file = known } else { file = OpenHashes(try open()) }
                state.file = file
                try context.files.write(file.descriptor, Self.record(chunk, hash), at: Self.offset(chunk))
                state.hashes[chunk] = hash
                state.isChanged = true
                return true
            } catch {
                context.noticeDiskTrouble(error)
                return false
            }
        }
    }

    /// Makes the records durable. Whether they are.
    func sync() -> Bool {
        state.withLock { state in
            guard state.isChanged, let file = state.file else { return true }
            do throws(Errno) {
                try context.files.sync(file.descriptor)
                state.isChanged = false
                return true
            } catch {
                context.noticeDiskTrouble(error)
                return false
            }
        }
    }

    private static func offset(_ chunk: Int) -> Int { headerLength + chunk * recordLength }

    private static func record(_ chunk: Int, _ hash: ContentHash) -> [UInt8] {
        var bytes = hash.bytes
        bytes.appendLittleEndian(checksum(chunk, hash))
        return bytes
    }

    private static func checksum(_ chunk: Int, _ hash: ContentHash) -> UInt64 {
        var bytes = hash.bytes
        bytes.appendLittleEndian(UInt64(chunk))
        return unsafe bytes.withUnsafeBytes { unsafe Checksum.of($0) }
    }

    private static func header(_ pack: PackReference) -> [UInt8] {
        var bytes: [UInt8] = []
        unsafe bytes.append(contentsOf: UnsafeBufferPointer(start: magic.utf8Start, count: 8))
        bytes.appendLittleEndian(version)
        bytes.appendLittleEndian(pack.chunkCount)
        bytes += pack.footerHash.bytes
        bytes += [UInt8](repeating: 0, count: headerLength - bytes.count)
        return bytes
    }

    /// Nil when there is no file that fits the pack.
    private static func load(_ context: CacheContext, _ pack: PackReference) -> [ContentHash]? {
        guard context.hasDisk else { return nil }
        let limit = offset(Int(pack.chunkCount))
        guard let bytes = try? readFile(context.layout.hashes(pack.id), limit: limit, context.files),
            bytes.count >= headerLength, Array(bytes[..<headerLength]) == header(pack)
        else { return nil }
        return (0..<Int(pack.chunkCount)).map { chunk in
            let start = offset(chunk)
            guard start + recordLength <= bytes.count,
                let hash = ContentHash(Array(bytes[start..<(start + ContentHash.byteCount)])),
                Array(bytes[start..<(start + recordLength)]) == record(chunk, hash)
            else { return .zero }
            return hash
        }
    }

    /// The file, made anew unless it is this pack's.
    private func open() throws(Errno) -> FileDescriptor {
        let path = context.layout.hashes(pack.id)
        if Self.load(context, pack) != nil,
            let file = try? context.files.open(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK, mode: 0)
        {
            return file
        }
        do throws(Errno) { try context.files.unlink(path) } catch .noEntry {}
        let file = try context.files.open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o600)
        try context.files.write(file, Self.header(pack), at: 0)
        return file
    }
}

/// A descriptor in an optional: it cannot be copied.
private final class OpenHashes {
    let descriptor: FileDescriptor
    init(_ descriptor: consuming FileDescriptor) { self.descriptor = descriptor }
}
