import Chunking
import DatasetStore
import KamlTestSupport
import ObjectStore
import System
import Testing

@Suite("Log records as bytes")
struct LogRecordTests {
    private static let commit = LogChange.commit(
        Commit(
            dataset: dataset("vision/imagenet"), branch: ref("main"), snapshot: snapshot(7),
            parent: Commit.Parent(sequence: 41, snapshot: snapshot(6)), message: "väl 🎉",
            metadata: ["job": "17", "": ""],
            files: 1, bytes: .max, newBytes: 3, storedBytes: 4))

    private static let changes: [LogChange] = [
        commit,
        .commit(Commit(dataset: dataset(), branch: ref("x/y"), snapshot: snapshot(1), parent: nil)),
        .branch(BranchChange(dataset: dataset(), name: ref("dev"), target: 9)),
        .branch(BranchChange(dataset: dataset(), name: ref("dev"), target: 9, isDeletion: true)),
        .tag(TagChange(dataset: dataset(), name: ref("v1"), target: 9)),
        .tag(TagChange(dataset: dataset(), name: ref("v1"), target: 9, isDeletion: true)),
        .reset(Reset(dataset: dataset(), branch: .main, target: 3, previous: 9)),
    ]

    private static func record(
        _ change: LogChange, seconds: Int64 = 1_700_000_000, previous: ContentHash? = snapshot(5)
    ) -> LogRecord {
        LogRecord(
            sequence: 42, previous: previous, writer: logID(1), write: logID(2),
            time: Timestamp(seconds: seconds, nanoseconds: 999_999_999), author: "ann@node-7", change: change)
    }

    @Test("come back as they went in")
    func roundTrip() throws {
        for change in Self.changes {
            for seconds: Int64 in [-5, 0, 1_700_000_000] {
                for previous in [nil, snapshot(5)] {
                    let record = Self.record(change, seconds: seconds, previous: previous)
                    let (bytes, hash) = try #require(record.encoded())
                    let decoded = try LogRecord.decoded(bytes)
                    #expect(decoded.record == record)
                    #expect(decoded.hash == hash)
                }
            }
        }
    }

    @Test("are refused with any one bit inverted, and at any shorter length")
    func damage() throws {
        let (bytes, _) = try #require(Self.record(Self.commit).encoded())
        for index in bytes.indices {
            for bit in 0..<8 {
                var damaged = bytes
                damaged[index] ^= 1 << UInt8(bit)
                #expect(throws: LogDamage.self) { try LogRecord.decoded(damaged) }
            }
            #expect(throws: LogDamage.self) { try LogRecord.decoded(Array(bytes[..<index])) }
        }
        #expect(throws: LogDamage.badLength) { try LogRecord.decoded(bytes + [0]) }
    }

    @Test("say that they are newer rather than damaged")
    func newer() throws {
        let (bytes, _) = try #require(Self.record(Self.commit).encoded())
        var newer = bytes
        newer[8] = 2
        #expect(throws: LogDamage.newerFormat(2)) { try LogRecord.decoded(newer) }
        let (condemn, _) = try #require(LogEnvelope.seal(type: 20, []))
        #expect(throws: LogDamage.unknownChange(20)) { try LogRecord.decoded(condemn) }
    }

    @Test("are refused, never trapped on, when a well-sealed payload is nonsense")
    func nonsense() throws {
        var random = SplitMix64(seed: 11)
        let (good, _) = try #require(Self.record(Self.commit).encoded())
        let payload = try LogEnvelope.open(good).payload
        for round in 0..<3000 {
            var bytes =
                round.isMultiple(of: 2) ? payload : random.bytes(Int.random(in: 0..<200, using: &random))
            for _ in 0..<Int.random(in: 1...4, using: &random) where !bytes.isEmpty {
                bytes[Int.random(in: bytes.indices, using: &random)] = UInt8.random(
                    in: 0...255, using: &random)
            }
            let type = UInt16.random(in: 16...19, using: &random)
            let (sealed, _) = try #require(LogEnvelope.seal(type: type, bytes))
            // Some changes of a message or a number are another valid record; those must be writable again.
            if let decoded = try? LogRecord.decoded(sealed) { #expect(decoded.record.encoded() != nil) }
        }
    }

    @Test("repeat the type of their change, which must be right")
    func wrongType() throws {
        let (good, _) = try #require(Self.record(Self.commit).encoded())
        let (sealed, _) = try #require(LogEnvelope.seal(type: 17, try LogEnvelope.open(good).payload))
        #expect(throws: LogDamage.invalidField("type")) { try LogRecord.decoded(sealed) }
    }

    @Test("have at most 1 MiB")
    func limit() {
        func size(_ message: Int) -> Int? {
            let commit = Commit(
                dataset: dataset(), branch: .main, snapshot: snapshot(1), parent: nil,
                message: String(repeating: "m", count: message))
            return Self.record(.commit(commit)).encoded()?.bytes.count
        }
        #expect(size(1 << 20) == nil)
        #expect((size((1 << 20) - 400) ?? .max) <= 1 << 20)
    }

    @Test("have keys of twenty digits")
    func keys() throws {
        #expect(LogKey.of(1)?.text == "log/00000000000000000001")
        #expect(LogKey.of(.max)?.text == "log/18446744073709551615")
        for sequence: UInt64 in [0, 1, 9, 10, .max] {
            #expect(LogKey.sequence(of: try #require(LogKey.of(sequence))) == sequence)
        }
    }
}
