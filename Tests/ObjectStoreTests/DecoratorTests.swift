import KamlTestSupport
import ObjectStore
import Testing

@Suite("Decorators of object stores")
struct DecoratorTests {
    @Test("count requests, failures and bytes by operation")
    func counting() throws {
        let faulty = FaultyObjectStore(MemoryObjectStore())
        let store = CountingObjectStore(faulty)
        _ = try store.createIfAbsent(key("a"), [1, 2, 3])
        let writer = try store.makeWriter(key("b"))
        try writer.append([1, 2, 3, 4])
        _ = try writer.publish()
        _ = try store.readAll(key("a"), limit: 3)
        _ = try store.read(key("b"), from: 1, count: 2)
        faulty.on(.read, 1, .fails(.unavailable))
        expect(.unavailable) { () throws(ObjectStoreError) in _ = try store.readAll(key("a"), limit: 3) }
        _ = try store.list("")
        let counts = store.counts
        #expect(counts.read == OperationCount(requests: 3, failures: 1, bytes: 5))
        #expect(counts.create == OperationCount(requests: 1, failures: 0, bytes: 3))
        #expect(counts.publish == OperationCount(requests: 1, failures: 0, bytes: 4))
        #expect(counts.requests == 6)
        #expect(counts.bytesWritten == 7)
    }

    @Test("inject the faults of a script, each once")
    func scriptedFaults() throws {
        let store = FaultyObjectStore(MemoryObjectStore())
        store.on(.create, 1, .fails(.noSpace))
        store.on(.create, 2, .answerLost)
        expect(.noSpace) { () throws(ObjectStoreError) in _ = try store.createIfAbsent(key("a"), [1]) }
        #expect(try store.size(of: key("a")) == nil)
        expect(.unavailable) { () throws(ObjectStoreError) in _ = try store.createIfAbsent(key("a"), [1]) }
        #expect(try store.createIfAbsent(key("a"), [1]) == .exists)
        store.on(.read, 1, .flippedBit(3))
        store.on(.read, 2, .shortRead)
        #expect(try store.readAll(key("a"), limit: 1) == [9])
        expect(.truncated) { () throws(ObjectStoreError) in _ = try store.read(key("a"), from: 0, count: 1) }
        #expect(try store.read(key("a"), from: 0, count: 1) == [1])
    }

    @Test("inject the same random faults for the same seed")
    func seededFaults() {
        func outcomes(seed: UInt64) -> [Bool] {
            let store = FaultyObjectStore(MemoryObjectStore(), seed: seed, rate: 0.3)
            return (0..<100).map { (try? store.createIfAbsent(key("k\($0)"), [])) != nil }
        }
        #expect(outcomes(seed: 1) == outcomes(seed: 1))
        #expect(outcomes(seed: 1) != outcomes(seed: 2))
    }
}
