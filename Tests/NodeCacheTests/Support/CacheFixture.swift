import DatasetStore
import Glibc
import KamlTestSupport
import ObjectStore
import Synchronization
import System

@testable import NodeCache

/// A cache in a directory of its own, and what it told.
final class CacheFixture: Sendable {
    let home: TemporaryDirectory
    let notices = Mutex<[String]>([])

    var directory: ByteString { home.path.appending("cache") }

    /// Whether caches that nothing else is said of are encrypted. All tests hold for such ones as well:
    /// `KAML_TEST_SEALED=1` runs them so.
    let isSealed: Bool

    init(isSealed: Bool = getenv("KAML_TEST_SEALED") != nil) throws {
        self.isSealed = isSealed
        home = try TemporaryDirectory()
    }

    /// Keys that differ by their numbers, the first of them current.
    static func keys(_ numbers: UInt8...) -> CacheKeys {
        let keys = numbers.compactMap { number in CacheKey.written((0..<32).map { number &* 7 &+ $0 }) }
        precondition(keys.count == numbers.count, "32 bytes are a key")
        return CacheKeys(current: keys[0], former: Array(keys.dropFirst()))
    }

    /// Small packs are read part by part like large ones, unless `wholePacks`: else a test of parts needs large packs.
    func open(
        _ options: CacheOptions = CacheOptions(), files: any FileSystem = HostFileSystem(),
        clock: any Clock = HostClock(), in directory: ByteString? = nil, wholePacks: Bool = false
    ) throws(CacheError) -> NodeCache {
        var options = options
        if !wholePacks { options.smallPackBytes = 0 }
        if isSealed, options.keys == nil { options.keys = Self.keys(1) }
        return try NodeCache(
            directory: directory ?? self.directory, options: options, fileSystem: files, clock: clock
        ) {
            [self] text in
            notices.withLock { $0.append(text) }
        }
    }

    /// What a cache that was on a disk looks like, but for its contents.
    func otherCache(in directory: ByteString) throws {
        try replaceFile(
            CacheLayout(directory: directory).version, Array("\(CacheLayout.clearVersion)\n".utf8),
            suffix: "t",
            HostFileSystem())
    }

    var told: [String] { notices.withLock { $0 } }

    func dataPath(_ pack: PackReference) -> ByteString { CacheLayout(directory: directory).data(pack.id) }
    func mapPath(_ pack: PackReference) -> ByteString { CacheLayout(directory: directory).map(pack.id) }

    /// Inverts bits of one byte of a file.
    static func damage(_ path: ByteString, at offset: UInt64) throws {
        let file = try FileDescriptor.open(path, 2)
        var byte: [UInt8] = [0]
        _ = try byte.withUnsafeMutableBytes { try file.read(into: $0, at: offset) }
        byte[0] ^= 0x10
        try byte.withUnsafeBytes { try file.write($0, at: offset) }
    }
}

extension NodeCache {
    /// Fetches and waits: the plain bytes of all chunks, in order. Then waits for what goes on behind the answer, too, so
    /// that a test finds it done.
    func read(_ parts: [FetchPart], settles: Bool = true) throws(CacheError) -> [Plain] {
        let answer = Monitor<Result<[Plain], CacheError>?>(nil)
        fetch(parts) { result in
            let copies = result.map { fetched in
                parts.indices.flatMap { index in
                    fetched.chunks(part: index).map {
                        Plain(bytes: Array(fetched.bytes(part: index, chunk: $0)))
                    }
                }
            }
            let isFirst = answer.withLock { answer in
                defer { answer = copies }
                return answer == nil
            }
            precondition(isFirst, "the completion was called twice")
            answer.wake()
        }
        let result = answer.wait { $0 }
        if settles { settle() }
        return try result.get()
    }

    /// Waits until what goes on behind the answers is done: footers of hinted chunks, and what is read ahead.
    func settle() { scheduler.waitUntilIdle() }

    func read(_ container: Container, _ chunks: Range<Int>) throws(CacheError) -> [Plain] {
        try read([FetchPart(container: container, chunks: chunks)])
    }
}

extension Container {
    /// A present chunk's bytes, out of the mapping, or out of a sealed container's file.
    func mapped(_ entry: ChunkEntry) -> Plain {
        if isSealed, let disk, let chunk = localFooter()?.chunk(at: entry.containerOffset) {
            var plain = [UInt8](repeating: 0, count: Int(entry.plainLength))
            let isRight = plain.withUnsafeMutableBytes {
                disk.read(chunk, into: $0, at: entry.containerOffset)
            }
            return Plain(bytes: isRight ? plain : [])
        }
        return Plain(
            bytes: Array(
                UnsafeRawBufferPointer(
                    start: bytes + Int(entry.containerOffset), count: Int(entry.plainLength))))
    }
}

// A failed expectation shows what it looked at, and reflection cannot copy what these two are made of.
extension Container: CustomReflectable {
    package var customMirror: Mirror { Mirror(self, children: []) }
}

extension NodeCache: CustomReflectable {
    package var customMirror: Mirror { Mirror(self, children: []) }
}

extension CacheLayout {
    /// Bytes of the blocks of everything in a cache's directory.
    static func usedBytes(_ directory: ByteString) -> Int {
        Int(StatisticsFile.usage(CacheLayout(directory: directory), HostFileSystem()).bytes)
    }
}
