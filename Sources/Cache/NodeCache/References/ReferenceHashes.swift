import Chunking
import DatasetStore
import Glibc
import System

/// What first reads of a reference pack's chunks found out: their hashes, which no footer knows. Every later fetch and
/// check is held to them.
///
/// In a file beside the container, which outlives it: magic 8, version u32, chunk count u32, hash of the pack's footer
/// 32, u32 1 if sealed, zeros up to 64, then for each chunk its hash and a checksum u64 over hash and index. A record is written before the
/// chunk's bit; one that is lost or rotten is as good as none.
///
/// Where the cache is sealed an envelope follows the header, and each record is a nonce 12, the hash sealed together with
/// its index, and the tag 16.
final class ReferenceHashes: Sendable {
    private static let magic: StaticString = "KAMLCHSH"
    private static let version: UInt32 = 1
    static let headerLength = 64
    private static let recordLength = 40
    private static let sealedRecordLength = ContentHash.byteCount + SealEnvelope.bodyMarkBytes

    private let context: CacheContext
    private let pack: PackReference
    private let state: Monitor<State>

    private struct State: ~Copyable {
        var hashes: [ContentHash]
        var file: OpenHashes?
        /// Of the file, where the cache is sealed.
        var envelope: SealEnvelope?
        var isChanged = false
    }

    /// Reads what an earlier life of the cache left.
    init(_ context: CacheContext, _ pack: PackReference) {
        self.context = context
        self.pack = pack
        let known = Self.load(context, pack)
        let hashes = known?.hashes ?? Array(repeating: .zero, count: Int(pack.chunkCount))
        state = Monitor(State(hashes: hashes, file: nil, envelope: known?.envelope))
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
                if let known = state.file { file = known } else { file = try open(&state.envelope) }
                state.file = file
                try context.files.write(
                    file.descriptor, try record(chunk, hash, state.envelope), at: offset(chunk))
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

    private func offset(_ chunk: Int) -> Int { Self.offset(chunk, isSealed: context.sealing != nil) }

    private static func offset(_ chunk: Int, isSealed: Bool) -> Int {
        isSealed
            ? headerLength + SealEnvelope.byteCount + chunk * sealedRecordLength
            : headerLength + chunk * recordLength
    }

    private func record(
        _ chunk: Int, _ hash: ContentHash, _ envelope: SealEnvelope?
    ) throws(Errno) -> [UInt8] {
        guard let sealing = context.sealing else { return Self.record(chunk, hash) }
        guard let envelope,
            let sealed = unsafe hash.bytes.withUnsafeBytes({
                unsafe sealing.pool.seal($0, with: envelope.key, for: Self.purpose(pack, chunk))
            })
        else { throw .inputOutput }
        return sealed.bytes + sealed.mark
    }

    private static func purpose(_ pack: PackReference, _ chunk: Int?) -> [UInt8] {
        Array("kaml hashes 1 \(pack.id) \(chunk.map { "\($0)" } ?? "")".utf8)
    }

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

    private static func header(_ pack: PackReference, isSealed: Bool) -> [UInt8] {
        var bytes: [UInt8] = []
        unsafe bytes.append(contentsOf: UnsafeBufferPointer(start: magic.utf8Start, count: 8))
        bytes.appendLittleEndian(version)
        bytes.appendLittleEndian(pack.chunkCount)
        bytes += pack.footerHash.bytes
        bytes.appendLittleEndian(UInt32(isSealed ? 1 : 0))
        bytes += [UInt8](repeating: 0, count: headerLength - bytes.count)
        return bytes
    }

    /// Nil when there is no file that fits the pack.
    private static func load(
        _ context: CacheContext, _ pack: PackReference
    ) -> (hashes: [ContentHash], envelope: SealEnvelope?)? {
        guard context.hasDisk else { return nil }
        let limit = offset(Int(pack.chunkCount), isSealed: context.sealing != nil)
        guard let bytes = try? readFile(context.layout.hashes(pack.id), limit: limit, context.files),
            bytes.count >= headerLength,
            Array(bytes[..<headerLength]) == header(pack, isSealed: context.sealing != nil)
        else { return nil }
        if let sealing = context.sealing { return open(bytes, sealing, pack) }
        let hashes = (0..<Int(pack.chunkCount)).map { chunk in
            let start = offset(chunk, isSealed: false)
            guard start + recordLength <= bytes.count,
                let hash = ContentHash(Array(bytes[start..<(start + ContentHash.byteCount)])),
                Array(bytes[start..<(start + recordLength)]) == record(chunk, hash)
            else { return ContentHash.zero }
            return hash
        }
        return (hashes, nil)
    }

    private static func open(
        _ bytes: [UInt8], _ sealing: CacheSealing, _ pack: PackReference
    ) -> (hashes: [ContentHash], envelope: SealEnvelope?)? {
        let head = Array(bytes[headerLength...].prefix(SealEnvelope.byteCount))
        guard let envelope = SealEnvelope(head, for: purpose(pack, nil), sealing.keys, sealing.pool) else {
            return nil
        }
        let hashes = (0..<Int(pack.chunkCount)).map { chunk -> ContentHash in
            let start = offset(chunk, isSealed: true)
            guard start + sealedRecordLength <= bytes.count else { return .zero }
            let sealed = Array(bytes[start..<(start + ContentHash.byteCount)])
            let mark = Array(bytes[(start + ContentHash.byteCount)..<(start + sealedRecordLength)])
            let plain = sealing.pool.open(sealed, mark, with: envelope.key, for: purpose(pack, chunk))
            return plain.flatMap { ContentHash($0) } ?? .zero
        }
        return (hashes, envelope)
    }

    /// The file, made anew unless it is this pack's.
    private func open(_ envelope: inout SealEnvelope?) throws(Errno) -> OpenHashes {
        let path = context.layout.hashes(pack.id)
        if let known = Self.load(context, pack),
            let file = try? context.files.open(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK, mode: 0)
        {
            envelope = known.envelope
            return OpenHashes(file)
        }
        do throws(Errno) { try context.files.unlink(path) } catch .noEntry {}
        let file = try context.files.open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o600)
        if let sealing = context.sealing {
            let purpose = Self.purpose(pack, nil)
            guard let new = try? SealEnvelope.new(for: purpose, sealing.keys, sealing.pool) else {
                throw .inputOutput
            }
            try context.files.write(file, new.encoded, at: Self.headerLength)
            envelope = new
        }
        try context.files.write(file, Self.header(pack, isSealed: context.sealing != nil), at: 0)
        return OpenHashes(file)
    }
}

/// A descriptor in an optional: it cannot be copied.
private final class OpenHashes {
    let descriptor: FileDescriptor
    init(_ descriptor: consuming FileDescriptor) { self.descriptor = descriptor }
}
