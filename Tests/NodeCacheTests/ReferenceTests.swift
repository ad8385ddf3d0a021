import Chunking
import DatasetStore
import KamlTestSupport
import ObjectStore
import System
import Testing

@testable import NodeCache

/// Packs that refer to objects of somebody else's.
@Suite struct ReferenceTests {
    let home: CacheFixture
    let store = MemoryObjectStore()
    let source = MemoryObjectSource()

    init() throws { home = try CacheFixture() }

    private func open(_ options: CacheOptions = CacheOptions(), boot: UInt8 = 1) throws -> NodeCache {
        var options = options
        options.bootID = Array(repeating: boot, count: 16)
        return try NodeCache(directory: home.directory, options: options, sources: KnownSources(source)) {
            _ in
        }
    }

    private func objects() throws -> [ReferencedObject] {
        var found: [ReferencedObject] = []
        try source.list { object throws(ObjectStoreError) in
            found.append(ReferencedObject(object))
            return true
        }
        return found
    }

    /// Small objects in slots.
    private func small(_ chunks: [[UInt8]]) throws -> PackReference {
        for (index, bytes) in chunks.enumerated() { source.put(ByteString("key\(1000 + index)"), bytes) }
        var builder = ReferencePackBuilder(
            id: PackID(random: HostRandom()), layout: .slots, location: source.location)
        for object in try objects() { _ = builder.append(object) }
        return try builder.publish(in: store)
    }

    private func large(_ bytes: [UInt8]) throws -> PackReference {
        source.put("large", bytes)
        var builder = ReferencePackBuilder(
            id: PackID(random: HostRandom()), layout: .file, location: source.location)
        let object = try objects().first { $0.key == "large" }
        let known = try #require(object)
        builder.append(known, part: 0..<known.size, chunkLength: 1 << 20)
        return try builder.publish(in: store)
    }

    private func chunks(_ count: Int, _ length: Int, seed: UInt64 = 1) -> [[UInt8]] {
        var random = SplitMix64(seed: seed)
        return (0..<count).map { _ in random.bytes(length) }
    }

    @Test("small objects come one request each, large ones in ranges; both stay")
    func reading() throws {
        let parts = chunks(20, 5000)
        let pack = try small(parts)
        let bytes = chunks(1, 5 << 20, seed: 2)[0]
        let big = try large(bytes)
        let cache = try open()
        let container = try cache.container(for: pack, origin: store)
        #expect(try cache.read(container, 0..<20) == parts.map(Plain.init))
        #expect(source.reads.count == 20)
        let file = try cache.container(for: big, origin: store)
        let read = try cache.read(file, 0..<5)
        #expect(Plain(bytes: read.flatMap(\.bytes)) == Plain(bytes: bytes))
        #expect(source.reads.count == 21)
        #expect(container.isComplete && file.isComplete)
        cache.close()
        let next = try open(boot: 2)
        let warm = try next.container(for: pack, origin: store)
        #expect(warm.isComplete)
        #expect(try next.read(warm, 0..<20) == parts.map(Plain.init))
        #expect(source.reads.count == 21)
        next.close()
    }

    @Test("after an unclean reboot chunks are held to what their first read found; bad ones are fetched")
    func reboot() throws {
        let parts = chunks(6, 5000)
        let pack = try small(parts)
        let cache = try open()
        _ = try cache.read(try cache.container(for: pack, origin: store), 0..<6)
        cache.shutDown(markClean: false)
        try CacheFixture.damage(home.dataPath(pack), at: 3 * 8192)
        let next = try open(boot: 2)
        let container = try next.container(for: pack, origin: store)
        #expect(try next.read(container, 0..<6) == parts.map(Plain.init))
        #expect(source.reads.count == 7)
        #expect(next.statistics().rejectedChunks == 1)
        #expect(try next.scrub().badChunks == 0)
        next.close()
    }

    @Test("an object that has changed fails with its name, and is not asked for at every chunk")
    func changed() throws {
        let parts = chunks(3, 5000)
        let pack = try small(parts)
        let cache = try open()
        let container = try cache.container(for: pack, origin: store)
        _ = try cache.read(container, 0..<1)
        source.put("key1001", [1, 2, 3])
        let before = source.reads.count { $0.key == "key1001" }
        for _ in 0..<5 {
            #expect { try cache.read(container, 1..<2) } throws: { error in
                let text = "\(error)"
                return (error as? CacheError)?.code == .changed && text.contains("key1001")
                    && text.contains("kaml import")
            }
        }
        #expect(source.reads.count { $0.key == "key1001" } == before + 1)
        #expect(try cache.read(container, 2..<3) == [Plain(bytes: parts[2])])
        #expect(try cache.read(container, 0..<1) == [Plain(bytes: parts[0])])
        cache.close()
    }

    @Test("an evicted object that comes back with other bytes under the same version is refused")
    func otherBytes() throws {
        let parts = chunks(2, 5000)
        let pack = try small(parts)
        do {
            let cache = try open()
            _ = try cache.read(try cache.container(for: pack, origin: store), 0..<2)
            cache.close()
        }
        do {
            let cache = try open()
            #expect(try cache.evict(pack.id) > 0)
            cache.close()
        }
        let lying = LyingSource(source)
        let cache = try NodeCache(directory: home.directory, sources: KnownSources(lying)) { _ in }
        let container = try cache.container(for: pack, origin: store)
        lying.lies(true)
        #expect { try cache.read(container, 0..<1) } throws: { ($0 as? CacheError)?.code == .changed }
        #expect(!container.isPresent(0))
        lying.lies(false)
        #expect(try cache.read(container, 0..<2) == parts.map(Plain.init))
        cache.close()
    }

    @Test("a wrong first read is held to until somebody has it forgotten")
    func forgotten() throws {
        let parts = chunks(2, 5000)
        let pack = try small(parts)
        let lying = LyingSource(source)
        lying.lies(true)
        do {
            let cache = try NodeCache(directory: home.directory, sources: KnownSources(lying)) { _ in }
            let container = try cache.container(for: pack, origin: store)
            #expect(try cache.read(container, 0..<1) != [Plain(bytes: parts[0])])
            cache.close()
        }
        for forgetting in [false, true] {
            let cache = try open()
            _ = try cache.evict([pack], forgetting: forgetting)
            let container = try cache.container(for: pack, origin: store)
            let read = Result { try cache.read(container, 0..<1) }
            if forgetting {
                #expect(try read.get() == [Plain(bytes: parts[0])])
            } else {
                #expect { try read.get() } throws: { "\($0)".contains("kaml warm DATASET --evict --forget") }
            }
            cache.close()
        }
    }

    @Test("a tag that is an MD5 finds bytes that were hurt on the way at the first read")
    func tags() throws {
        let tag = ObjectTag("900150983cd24fb0d6963f7d28e17f72")
        #expect(Array("abc".utf8).withUnsafeBytes { tag?.matches($0) } == true)
        #expect(Array("abd".utf8).withUnsafeBytes { tag?.matches($0) } == false)
        #expect(ObjectTag("900150983cd24fb0d6963f7d28e17f7-") == nil)
        #expect(ObjectTag("900150983cd24fb0d6963f7d28e17f72-3") == nil)
        let object = ReferencedObject(
            key: "abc", size: 3, version: ObjectVersion(tag: "900150983cd24fb0d6963f7d28e17f72"))
        var builder = ReferencePackBuilder(
            id: PackID(random: HostRandom()), layout: .slots, location: "memory://tagged/")
        _ = builder.append(object)
        let pack = try builder.publish(in: store)
        let tagged = ScriptedSource(["abd", "abc"])
        let cache = try NodeCache(directory: home.directory, sources: KnownSources(tagged)) { _ in }
        let container = try cache.container(for: pack, origin: store)
        #expect(try cache.read(container, 0..<1) == [Plain(bytes: Array("abc".utf8))])
        cache.close()
        // Of an encrypted object the tag is no MD5: two equal reads are believed, two different ones are not.
        for (answers, isGood) in [(["abd", "abd"], true), (["abd", "abe"], false)] {
            let home = try CacheFixture()
            let cache = try NodeCache(
                directory: home.directory, sources: KnownSources(ScriptedSource(answers))
            ) { _ in }
            let container = try cache.container(for: pack, origin: store)
            #expect((try? cache.read(container, 0..<1)) == (isGood ? [Plain(bytes: Array("abd".utf8))] : nil))
            cache.close()
        }
    }

    @Test("an epoch over small objects keeps many requests in flight")
    func manyInFlight() throws {
        let parts = chunks(120, 2000)
        let pack = try small(parts)
        let counting = LyingSource(source, delay: 5_000_000)
        let cache = try NodeCache(directory: home.directory, sources: KnownSources(counting)) { _ in }
        let container = try cache.container(for: pack, origin: store)
        for chunk in 0..<120 where !container.isPresent(chunk) {
            let part = FetchPart(container: container, chunks: chunk..<(chunk + 1))
            #expect(try cache.read([part], settles: false) == [Plain(bytes: parts[chunk])])
        }
        #expect(counting.mostAtOnce >= 8)
        cache.close()
    }
}

/// A source that gives wrong bytes of the right version when it is told to, and counts what runs at once.
final class LyingSource: ObjectSource {
    private let source: any ObjectSource
    private let delay: UInt64
    private let state = Monitor((lies: false, running: 0, most: 0))

    init(_ source: any ObjectSource, delay: UInt64 = 0) {
        self.source = source
        self.delay = delay
    }

    var location: String { source.location }
    var mostAtOnce: Int { state.withLock { $0.most } }
    func lies(_ lies: Bool) { state.withLock { $0.lies = lies } }

    func list(_ body: (SourceObject) throws(ObjectStoreError) -> Bool) throws(ObjectStoreError) {
        try source.list(body)
    }

    func read(
        _ key: ByteString, _ version: ObjectVersion, _ range: Range<UInt64>,
        _ body: (UnsafeRawBufferPointer) throws(ObjectStoreError) -> Bool
    ) throws(ObjectStoreError) {
        let lies = state.withLock { state in
            state.running += 1
            state.most = max(state.most, state.running)
            return state.lies
        }
        defer { state.withLock { $0.running -= 1 } }
        if delay > 0 { Parker().park(nanoseconds: delay) }
        try source.read(key, version, range) { piece throws(ObjectStoreError) in
            guard lies else { return try body(piece) }
            var copy = Array(piece)
            copy[0] ^= 1
            let outcome = copy.withUnsafeBytes { bytes in
                Result { () throws(ObjectStoreError) in try body(bytes) }
            }
            return try outcome.get()
        }
    }
}

/// Gives one text after the other.
final class ScriptedSource: ObjectSource {
    let location = "memory://tagged/"
    private let answers: Monitor<[String]>

    init(_ answers: [String]) { self.answers = Monitor(answers) }

    func list(_ body: (SourceObject) throws(ObjectStoreError) -> Bool) throws(ObjectStoreError) {}

    func read(
        _ key: ByteString, _ version: ObjectVersion, _ range: Range<UInt64>,
        _ body: (UnsafeRawBufferPointer) throws(ObjectStoreError) -> Bool
    ) throws(ObjectStoreError) {
        let answer = answers.withLock { $0.isEmpty ? "" : $0.removeFirst() }
        let outcome = Array(answer.utf8).withUnsafeBytes { bytes in
            Result { () throws(ObjectStoreError) in try body(bytes) }
        }
        _ = try outcome.get()
    }
}
