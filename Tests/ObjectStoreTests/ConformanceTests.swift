import KamlTestSupport
import ObjectStore
import Synchronization
import System
import Testing

/// What every store promises. Part of two test targets, each with a `StoreKind` of its own that makes the stores.
@Suite("Every object store")
struct ConformanceTests {
    @Test("returns what was created, whole and in ranges", arguments: StoreKind.allCases)
    func createAndRead(kind: StoreKind) throws {
        let (store, token) = try kind.make()
        defer { withExtendedLifetime(token) {} }
        #expect(try store.createIfAbsent(key("packs/ab/one"), Array("0123456789".utf8)) == .created)
        #expect(try store.size(of: key("packs/ab/one")) == 10)
        #expect(try store.readAll(key("packs/ab/one"), limit: 10) == Array("0123456789".utf8))
        #expect(try store.read(key("packs/ab/one"), from: 3, count: 4) == Array("3456".utf8))
        #expect(try store.read(key("packs/ab/one"), from: 10, count: 0) == [])
    }

    @Test("holds an empty object", arguments: StoreKind.allCases)
    func emptyObject(kind: StoreKind) throws {
        let (store, token) = try kind.make()
        defer { withExtendedLifetime(token) {} }
        #expect(try store.createIfAbsent(key("empty"), []) == .created)
        #expect(try store.size(of: key("empty")) == 0)
        #expect(try store.readAll(key("empty"), limit: 0) == [])
    }

    @Test("keeps the first of two creates", arguments: StoreKind.allCases)
    func createTwice(kind: StoreKind) throws {
        let (store, token) = try kind.make()
        defer { withExtendedLifetime(token) {} }
        #expect(try store.createIfAbsent(key("log/1"), [1]) == .created)
        #expect(try store.createIfAbsent(key("log/1"), [2]) == .exists)
        let writer = try store.makeWriter(key("log/1"))
        try writer.append([3])
        #expect(try writer.publish() == .exists)
        #expect(try store.readAll(key("log/1"), limit: 1) == [1])
    }

    @Test("tells what is missing, short or too large apart", arguments: StoreKind.allCases)
    func readErrors(kind: StoreKind) throws {
        let (store, token) = try kind.make()
        defer { withExtendedLifetime(token) {} }
        #expect(try store.size(of: key("no/such")) == nil)
        expect(.notFound) { () throws(ObjectStoreError) in _ = try store.readAll(key("no/such"), limit: 9) }
        expect(.notFound) { () throws(ObjectStoreError) in
            _ = try store.read(key("no/such"), from: 0, count: 1)
        }
        _ = try store.createIfAbsent(key("ten"), [UInt8](repeating: 7, count: 10))
        expect(.truncated) { () throws(ObjectStoreError) in _ = try store.read(key("ten"), from: 8, count: 3)
        }
        expect(.truncated) { () throws(ObjectStoreError) in
            _ = try store.read(key("ten"), from: 1 << 40, count: 1)
        }
        expect(.tooLarge) { () throws(ObjectStoreError) in _ = try store.readAll(key("ten"), limit: 9) }
    }

    @Test(
        "shows an object that is written in pieces only when it is published", arguments: StoreKind.allCases)
    func writer(kind: StoreKind) throws {
        let (store, token) = try kind.make()
        defer { withExtendedLifetime(token) {} }
        var random = SplitMix64(seed: 1)
        // Pieces on both sides of every buffer a store may have.
        let pieces = [0, 1, 70_000, 3, 300_000, 65_535, 65_536, 1].map { random.bytes($0) }
        let writer = try store.makeWriter(key("packs/aa/big"))
        for piece in pieces {
            try writer.append(piece)
            #expect(try store.size(of: key("packs/aa/big")) == nil)
        }
        let whole = Array(pieces.joined())
        #expect(writer.bytesWritten == UInt64(whole.count))
        #expect(try store.list("") == [])
        #expect(try writer.publish() == .created)
        #expect(try store.readAll(key("packs/aa/big"), limit: whole.count) == whole)
    }

    @Test("forgets a writer that is abandoned or dropped", arguments: StoreKind.allCases)
    func abandonedWriter(kind: StoreKind) throws {
        let (store, token) = try kind.make()
        defer { withExtendedLifetime(token) {} }
        let abandoned = try store.makeWriter(key("x"))
        try abandoned.append([1])
        abandoned.abandon()
        #expect(throws: ObjectStoreError.self) { try abandoned.publish() }
        do {
            let dropped = try store.makeWriter(key("x"))
            try dropped.append([1])
        }
        #expect(try store.size(of: key("x")) == nil)
        #expect(try store.createIfAbsent(key("x"), [2]) == .created)
    }

    @Test("refuses a writer that was published already", arguments: StoreKind.allCases)
    func publishTwice(kind: StoreKind) throws {
        let (store, token) = try kind.make()
        defer { withExtendedLifetime(token) {} }
        let writer = try store.makeWriter(key("x"))
        #expect(try writer.publish() == .created)
        #expect(throws: ObjectStoreError.self) { try writer.publish() }
        #expect(try store.size(of: key("x")) == 0)
    }

    @Test("lists keys in byte order, by any prefix, after any key", arguments: StoreKind.allCases)
    func list(kind: StoreKind) throws {
        let (store, token) = try kind.make()
        defer { withExtendedLifetime(token) {} }
        let texts = ["a-b", "a.b", "a/0", "a/b/c", "a/b0", "a/bc", "a0", "b/1", "b/2", "store.json"]
        for text in texts.shuffled() { _ = try store.createIfAbsent(key(text), Array(text.utf8)) }
        func listed(_ prefix: String, after: String? = nil) throws -> [String] {
            var found: [String] = []
            try store.list(prefix, after: after) { info throws(ObjectStoreError) in
                found.append(info.key.text)
                return true
            }
            return found
        }
        for prefix in ["", "a", "a/", "a/b", "a/b/", "b/", "b/2", "c", "zz/", "a/../", ".tmp/", "/"] {
            let expected = texts.filter { $0.hasPrefix(prefix) }
            #expect(try listed(prefix) == expected, "prefix \(prefix)")
            for after in texts + ["a/b", "a/", "", "zzz"] {
                #expect(
                    try listed(prefix, after: after) == expected.filter { $0 > after },
                    "\(prefix) after \(after)")
            }
        }
        #expect(try store.list("a/b").map(\.size) == [5, 4, 4])
    }

    @Test("stops a listing when it is told to", arguments: StoreKind.allCases)
    func listStops(kind: StoreKind) throws {
        let (store, token) = try kind.make()
        defer { withExtendedLifetime(token) {} }
        for number in 0..<5 { _ = try store.createIfAbsent(key("d\(number)/x"), []) }
        var told = 0
        try store.list("", after: nil) { _ throws(ObjectStoreError) in
            told += 1
            return told < 3
        }
        #expect(told == 3)
    }

    @Test("deletes, and does not mind what is gone", arguments: StoreKind.allCases)
    func delete(kind: StoreKind) throws {
        let (store, token) = try kind.make()
        defer { withExtendedLifetime(token) {} }
        _ = try store.createIfAbsent(key("packs/x"), [1, 2, 3])
        #expect(try store.read(key("packs/x"), from: 0, count: 1) == [1])
        try store.delete(key("packs/x"))
        try store.delete(key("packs/x"))
        expect(.notFound) { () throws(ObjectStoreError) in
            _ = try store.read(key("packs/x"), from: 0, count: 1)
        }
        #expect(try store.createIfAbsent(key("packs/x"), [4]) == .created)
        #expect(try store.read(key("packs/x"), from: 0, count: 1) == [4])
    }

    @Test(
        "gives exactly one of many racing creators the key",
        arguments: StoreKind.allCases.filter(\.isAtomic))
    func race(kind: StoreKind) throws {
        let (store, token) = try kind.make()
        defer { withExtendedLifetime(token) {} }
        let rounds = 25
        let creators = 8
        let winners = Mutex<[[UInt8]]>(Array(repeating: [], count: rounds))
        try inParallel(creators) { creator in
            for round in 0..<rounds {
                guard let key = ObjectKey("log/\(round)") else { continue }
                let me = UInt8(creator)
                let created = try store.createIfAbsent(key, [UInt8](repeating: me, count: 5000)) == .created
                if created { winners.withLock { $0[round].append(me) } }
            }
        }
        for (round, winner) in winners.withLock({ $0 }).enumerated() {
            #expect(winner.count == 1)
            let bytes = try store.readAll(key("log/\(round)"), limit: 5000)
            #expect(bytes == [UInt8](repeating: winner.first ?? 255, count: 5000))
        }
    }
}
