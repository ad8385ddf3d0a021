package import ObjectStore
import Synchronization
import System

/// What every object store promises, as checks that throw when a store breaks one.
///
/// Not test functions, so that suites elsewhere can run them against servers: each makes a new, empty store for each
/// check. A promise that holds for one writer at a time only is marked so.
package enum ObjectStoreConformance {
    package struct Check: Sendable, CustomStringConvertible {
        package let description: String
        /// Whether the promise needs a store that is safe for several writers.
        package let needsManyWriters: Bool
        private let body: @Sendable (any ObjectStore) throws -> Void

        init(
            _ description: String, needsManyWriters: Bool = false,
            _ body: @escaping @Sendable (any ObjectStore) throws -> Void
        ) {
            self.description = description
            self.needsManyWriters = needsManyWriters
            self.body = body
        }

        /// `store` is empty.
        package func run(_ store: any ObjectStore) throws { try body(store) }
    }

    /// A promise that was broken.
    package struct Broken: Error, CustomStringConvertible {
        package let description: String
    }

    package static let checks: [Check] = [
        Check("returns what was created, whole, in ranges and in pieces", createAndRead),
        Check("holds an empty object", emptyObject),
        Check("keeps the first of two creates", createTwice),
        Check("tells what is missing, short or too large apart", readErrors),
        Check("shows an object that is written in pieces only when it is published", writer),
        Check("takes an object that is larger than any buffer", largeWriter),
        Check("forgets a writer that is abandoned or dropped", abandonedWriter),
        Check("refuses a writer that was published already", publishTwice),
        Check("lists keys in byte order, by any prefix, after any key", list),
        Check("lists more keys than a page of any server holds", longList),
        Check("stops a listing when it is told to", listStops),
        Check("deletes, and does not mind what is gone", delete),
        Check("gives exactly one of many racing creators the key", needsManyWriters: true, race),
    ]

    // MARK: - The checks

    private static func createAndRead(_ store: any ObjectStore) throws {
        let key = try key("packs/ab/one")
        let digits = Array("0123456789".utf8)
        try expect(try store.createIfAbsent(key, digits) == .created, "the key is free")
        try expect(try store.size(of: key) == 10, "the size is that of the bytes")
        try expect(try store.readAll(key, limit: 10) == digits, "readAll returns the bytes")
        try expect(try store.read(key, from: 3, count: 4) == Array("3456".utf8), "read returns its range")
        try expect(try store.read(key, from: 10, count: 0) == [], "an empty range at the end is no error")
        try expect(try pieces(of: key, 2..<9, in: store) == Array("2345678".utf8), "pieces make up the range")
        var told = 0
        try store.read(key, 0..<10) { piece throws(ObjectStoreError) in
            told += piece.count
            return false
        }
        try expect(told > 0 && told <= 10, "a reader that has enough is asked once")
    }

    private static func emptyObject(_ store: any ObjectStore) throws {
        let key = try key("empty")
        try expect(try store.createIfAbsent(key, []) == .created, "the key is free")
        try expect(try store.size(of: key) == 0, "the size is 0")
        try expect(try store.readAll(key, limit: 0) == [], "readAll returns nothing")
    }

    private static func createTwice(_ store: any ObjectStore) throws {
        let key = try key("log/1")
        try expect(try store.createIfAbsent(key, [1]) == .created, "the key is free")
        try expect(try store.createIfAbsent(key, [2]) == .exists, "the key is taken")
        let writer = try store.makeWriter(key)
        try writer.append([3])
        try expect(try writer.publish() == .exists, "the key is taken for a writer too")
        try expect(try store.readAll(key, limit: 1) == [1], "the first bytes stand")
    }

    private static func readErrors(_ store: any ObjectStore) throws {
        let missing = try key("no/such")
        let ten = try key("ten")
        try expect(try store.size(of: missing) == nil, "what is missing has no size")
        try expect(.notFound) { () throws(ObjectStoreError) in _ = try store.readAll(missing, limit: 9) }
        try expect(.notFound) { () throws(ObjectStoreError) in _ = try store.read(missing, from: 0, count: 1)
        }
        _ = try store.createIfAbsent(ten, [UInt8](repeating: 7, count: 10))
        try expect(.truncated) { () throws(ObjectStoreError) in _ = try store.read(ten, from: 8, count: 3) }
        try expect(.truncated) { () throws(ObjectStoreError) in _ = try store.read(ten, from: 10, count: 1) }
        try expect(.truncated) { () throws(ObjectStoreError) in
            _ = try store.read(ten, from: 1 << 40, count: 1)
        }
        try expect(.truncated) { () throws(ObjectStoreError) in
            try store.read(ten, 9..<11) { _ throws(ObjectStoreError) in true }
        }
        try expect(.tooLarge) { () throws(ObjectStoreError) in _ = try store.readAll(ten, limit: 9) }
    }

    private static func writer(_ store: any ObjectStore) throws {
        var random = SplitMix64(seed: 1)
        // Pieces on both sides of every buffer a store may have.
        let pieces = [0, 1, 70_000, 3, 300_000, 65_535, 65_536, 1].map { random.bytes($0) }
        let key = try key("packs/aa/big")
        let writer = try store.makeWriter(key)
        for piece in pieces {
            try writer.append(piece)
            try expect(try store.size(of: key) == nil, "nobody sees it yet")
        }
        let whole = Array(pieces.joined())
        try expect(writer.bytesWritten == UInt64(whole.count), "the writer counts its bytes")
        try expect(try store.list("") == [], "no listing tells it yet")
        try expect(try writer.publish() == .created, "the key is free")
        try expect(try store.readAll(key, limit: whole.count) == whole, "the bytes are those of the pieces")
    }

    private static func largeWriter(_ store: any ObjectStore) throws {
        var random = SplitMix64(seed: 2)
        let piece = random.bytes(1 << 20)
        let key = try key("packs/bb/large")
        let writer = try store.makeWriter(key)
        for index in 0..<21 {
            try writer.append([UInt8(index)])
            try writer.append(piece)
        }
        try expect(try store.size(of: key) == nil, "nobody sees it yet")
        try expect(try writer.publish() == .created, "the key is free")
        let length = piece.count + 1
        try expect(try store.size(of: key) == UInt64(21 * length), "all of it is there")
        for index in 0..<21 {
            let bytes = try store.read(key, from: UInt64(index * length), count: length)
            try expect(bytes.first == UInt8(index) && bytes.dropFirst().elementsEqual(piece), "in order")
        }
        let second = try store.makeWriter(key)
        for _ in 0..<17 { try second.append(piece) }
        try expect(try second.publish() == .exists, "the key is taken")
        try expect(try store.size(of: key) == UInt64(21 * length), "the first object stands")
    }

    private static func abandonedWriter(_ store: any ObjectStore) throws {
        let key = try key("x")
        let abandoned = try store.makeWriter(key)
        try abandoned.append([1])
        abandoned.abandon()
        try expectFailure("a writer that was abandoned is spent") { _ = try abandoned.publish() }
        do {
            let dropped = try store.makeWriter(key)
            try dropped.append([1])
        }
        try expect(try store.size(of: key) == nil, "nothing of them is there")
        try expect(try store.createIfAbsent(key, [2]) == .created, "the key is free")
    }

    private static func publishTwice(_ store: any ObjectStore) throws {
        let key = try key("x")
        let writer = try store.makeWriter(key)
        try expect(try writer.publish() == .created, "the key is free")
        try expectFailure("a writer that was published is spent") { _ = try writer.publish() }
        try expect(try store.size(of: key) == 0, "the object is empty")
    }

    private static func list(_ store: any ObjectStore) throws {
        let texts = ["a-b", "a.b", "a/0", "a/b/c", "a/b0", "a/bc", "a0", "b/1", "b/2", "store.json"]
        for text in texts.shuffled() { _ = try store.createIfAbsent(try key(text), Array(text.utf8)) }
        for prefix in ["", "a", "a/", "a/b", "a/b/", "b/", "b/2", "c", "zz/", "a/../", ".tmp/", "/"] {
            let expected = texts.filter { $0.hasPrefix(prefix) }
            try expect(try listed(prefix, in: store) == expected, "prefix \(prefix)")
            for after in texts + ["a/b", "a/", "", "zzz"] {
                try expect(
                    try listed(prefix, after: after, in: store) == expected.filter { $0 > after },
                    "\(prefix) after \(after)")
            }
        }
        try expect(try store.list("a/b").map(\.size) == [5, 4, 4], "a listing tells the sizes")
    }

    private static func longList(_ store: any ObjectStore) throws {
        let texts = (0..<1050).map { "many/\(100_000 + $0)" }
        try inParallel(8) { worker in
            for index in stride(from: worker, to: texts.count, by: 8) {
                _ = try store.createIfAbsent(try key(texts[index]), [])
            }
        }
        try expect(try listed("many/", in: store) == texts, "all are listed, once")
        let middle = texts[500]
        try expect(
            try listed("many/", after: middle, in: store) == Array(texts[501...]), "and after one of them")
    }

    private static func listStops(_ store: any ObjectStore) throws {
        for number in 0..<5 { _ = try store.createIfAbsent(try key("d\(number)/x"), []) }
        var told = 0
        try store.list("", after: nil) { _ throws(ObjectStoreError) in
            told += 1
            return told < 3
        }
        try expect(told == 3, "three were wanted")
    }

    private static func delete(_ store: any ObjectStore) throws {
        let key = try key("packs/x")
        _ = try store.createIfAbsent(key, [1, 2, 3])
        try expect(try store.read(key, from: 0, count: 1) == [1], "it is there")
        try store.delete(key)
        try store.delete(key)
        try expect(.notFound) { () throws(ObjectStoreError) in _ = try store.read(key, from: 0, count: 1) }
        try expect(try store.createIfAbsent(key, [4]) == .created, "the key is free again")
        try expect(try store.read(key, from: 0, count: 1) == [4], "the new bytes are there")
    }

    private static func race(_ store: any ObjectStore) throws {
        let rounds = 25
        let winners = Mutex<[[UInt8]]>(Array(repeating: [], count: rounds))
        try inParallel(8) { creator in
            for round in 0..<rounds {
                let me = UInt8(creator)
                let bytes = [UInt8](repeating: me, count: 5000)
                if try store.createIfAbsent(try key("log/\(round)"), bytes) == .created {
                    winners.withLock { $0[round].append(me) }
                }
            }
        }
        for (round, winner) in winners.withLock({ $0 }).enumerated() {
            try expect(winner.count == 1, "round \(round) has the winners \(winner)")
            let bytes = try store.readAll(try key("log/\(round)"), limit: 5000)
            try expect(
                bytes == [UInt8](repeating: winner.first ?? 255, count: 5000), "the winner's bytes stand")
        }
    }

    // MARK: - Helpers

    private static func key(_ text: String) throws -> ObjectKey {
        guard let key = ObjectKey(text) else { throw Broken(description: "\(text) is no key") }
        return key
    }

    private static func expect(_ isTrue: Bool, _ promise: String) throws {
        guard isTrue else { throw Broken(description: "broken: \(promise)") }
    }

    /// Expects an error with this code, and that it says what to do.
    private static func expect(
        _ code: ObjectStoreError.Code, _ body: () throws(ObjectStoreError) -> Void
    ) throws {
        do throws(ObjectStoreError) {
            try body()
        } catch {
            return try expect(
                error.code == code && error.description.contains("; "), "expected \(code): \(error)")
        }
        throw Broken(description: "expected \(code), but nothing was thrown")
    }

    private static func expectFailure(_ promise: String, _ body: () throws -> Void) throws {
        do { try body() } catch is ObjectStoreError { return }
        throw Broken(description: "broken: \(promise)")
    }

    private static func pieces(
        of key: ObjectKey, _ range: Range<UInt64>, in store: any ObjectStore
    ) throws -> [UInt8] {
        var bytes: [UInt8] = []
        try store.read(key, range) { piece throws(ObjectStoreError) in
            bytes.append(contentsOf: piece)
            return true
        }
        return bytes
    }

    private static func listed(
        _ prefix: String, after: String? = nil, in store: any ObjectStore
    ) throws -> [String] {
        var found: [String] = []
        try store.list(prefix, after: after) { info throws(ObjectStoreError) in
            found.append(info.key.text)
            return true
        }
        return found
    }
}
