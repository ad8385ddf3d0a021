import FoundationEssentials
import KamlProtos
import KamlTestSupport
import RecordIndex
import SwiftProtobuf
import System
import Testing

@testable import RecordFeed

/// The state machine of a session, and what is read from a pod's bytes.
@Suite struct SessionTests {
    private func ready() -> FeedSession {
        var session = FeedSession(number: 7, agent: "kamld")
        _ = session.decide(.hello(lowest: 1, highest: 1, client: "test"))
        return session
    }

    private func isEnd(_ decision: FeedSession.Decision) -> Bool {
        if case .end = decision { true } else { false }
    }

    private func failure(_ decision: FeedSession.Decision) -> FeedFailure? {
        if case .answer(.failure(let failure)) = decision { failure } else { nil }
    }

    @Test("the first request is Hello, and there is one")
    func greeting() {
        var session = FeedSession(number: 7, agent: "kamld")
        #expect(isEnd(session.decide(.closeStream)))
        var second = ready()
        #expect(isEnd(second.decide(.hello(lowest: 1, highest: 1, client: ""))))
    }

    @Test("versions that do not meet end the session with what to do", arguments: [(0, 0), (2, 9), (3, 2)])
    func versions(lowest: UInt32, highest: UInt32) {
        var session = FeedSession(number: 7, agent: "kamld")
        guard case .end(let failure) = session.decide(.hello(lowest: lowest, highest: highest, client: ""))
        else {
            Issue.record("the session went on")
            return
        }
        #expect(failure.code == .unsupported)
        #expect(failure.remedy.contains("newer"))
    }

    @Test("one stream at a time; after it is closed there may be another")
    func streams() {
        var session = ready()
        let open = FeedRequest.Operation.openStream(StreamRequest(FeedName(dataset: "d", store: "")))
        guard case .run = session.decide(open) else {
            Issue.record("the stream was not opened")
            return
        }
        #expect(session.isBusy)
        session.streamOpened(isInline: false)
        session.finished()
        #expect(failure(session.decide(open))?.code == .invalid)
        guard case .closeStream = session.decide(.closeStream) else {
            Issue.record("the stream was not closed")
            return
        }
        guard case .run = session.decide(open) else {
            Issue.record("no second stream")
            return
        }
    }

    @Test("seeks count their generations, round and round")
    func generations() {
        var session = ready()
        #expect(failure(session.decide(.seek(position: 0, generation: 1)))?.code == .invalid)
        _ = session.decide(.openStream(StreamRequest(FeedName(dataset: "d", store: ""))))
        session.streamOpened(isInline: false)
        session.finished()
        #expect(failure(session.decide(.seek(position: 0, generation: 2)))?.code == .invalid)
        for generation in 1...70_000 {
            guard
                case .seek = session.decide(
                    .seek(position: 1, generation: UInt16(truncatingIfNeeded: generation)))
            else {
                Issue.record("seek \(generation) was refused")
                return
            }
        }
    }

    @Test("a user has so many sessions, the node has so many, and each that ends makes room")
    func quota() {
        var quota = SessionQuota(.init(sessions: 3, sessionsOfUser: 2))
        #expect(quota.admit(user: 1) == nil)
        #expect(quota.admit(user: 1) == nil)
        #expect(quota.admit(user: 1)?.code == .exhausted)
        #expect(quota.admit(user: 2) == nil)
        #expect(quota.admit(user: 3)?.code == .exhausted)
        quota.ended(user: 1)
        #expect(quota.admit(user: 3) == nil)
        quota.ended(user: 9)
        #expect(quota.count == 3)
    }

    // MARK: - Bytes

    private func decode(_ fill: (inout Kaml_Feed_V1_Request) -> Void) throws -> FeedRequest {
        var request = Kaml_Feed_V1_Request()
        request.id = 5
        fill(&request)
        return try FeedRequest.decode(try request.serializedBytes())
    }

    @Test("what cannot be is refused with the request's id, so that the pod can be told")
    func bounds() throws {
        let bad: [(inout Kaml_Feed_V1_Request) -> Void] = [
            { $0.openStream.batchSize = 1 },
            { $0.openStream.dataset = "d" },
            {
                $0.openStream.dataset = "d"
                $0.openStream.batchSize = 1 << 20 + 1
            },
            {
                $0.openStream.dataset = "d"
                $0.openStream.batchSize = 1
                $0.openStream.rank = 1
            },
            {
                $0.openStream.dataset = "d"
                $0.openStream.batchSize = 1
                $0.openStream.format = .fixed
            },
            {
                $0.openStream.dataset = "d"
                $0.openStream.batchSize = 1
                $0.openStream.paths = Array(repeating: "a", count: 65)
            },
            {
                $0.openStream.dataset = "d"
                $0.openStream.batchSize = 1
                $0.openStream.columns = ["a", "a"]
            },
            {
                $0.openStream.dataset = "d"
                $0.openStream.batchSize = 1
                $0.openStream.cursor.snapshot = "../../etc"
            },
            {
                $0.openStream.dataset = "d"
                $0.openStream.batchSize = 1
                $0.openStream.order = .cachedFirst
                $0.openStream.worldSize = 2
            },
            {
                $0.read.dataset = "d"
                $0.read.length = 1 << 31
            },
            {
                $0.stat.dataset = "d"
                $0.stat.path = .init([0x61, 0])
            },
            { $0.seek.generation = 70_000 },
            { _ in },
        ]
        for fill in bad {
            do {
                _ = try decode(fill)
                Issue.record("a request was taken that cannot be")
            } catch let error as UnreadRequest {
                #expect(error.id == 5)
                #expect(!error.failure.message.isEmpty && !error.failure.remedy.isEmpty)
            }
        }
        #expect(throws: UnreadRequest.self) { try decode { $0.id = 0 } }
    }

    @Test("random bytes are no request, or one within its bounds")
    func garbage() throws {
        var random = SplitMix64(seed: 11)
        var good = Kaml_Feed_V1_Request()
        good.id = 3
        good.openStream.dataset = "data@main"
        good.openStream.batchSize = 32
        good.openStream.paths = ["a", "b"]
        let seed: [UInt8] = try good.serializedBytes()
        for round in 0..<20_000 {
            var bytes = round % 2 == 0 ? random.bytes(Int(random.next() % 200)) : seed
            if round % 2 == 1 {
                bytes[Int(random.next() % UInt64(bytes.count))] ^= UInt8(1 << (random.next() % 8))
            }
            guard let request = try? FeedRequest.decode(bytes) else { continue }
            if case .openStream(let open) = request.operation {
                #expect((1...1 << 20).contains(open.batchSize))
                #expect(open.rank < open.worldSize)
            }
        }
    }

    // MARK: - Positions

    private func plan(_ records: UInt64, _ fill: (inout StreamRequest) -> Void) throws -> StreamPlan {
        var request = StreamRequest(FeedName(dataset: "d", store: ""))
        fill(&request)
        return try StreamPlan(request, records: records)
    }

    @Test("over all ranks and steps every place comes once", arguments: [1, 2, 3, 7] as [UInt32])
    func places(world: UInt32) throws {
        for (records, batch, ordinal) in [
            (100, 8, 0), (100, 8, 37), (5, 8, 0), (64, 8, 0), (0, 8, 0), (100, 1, 99),
        ]
            as [(UInt64, UInt32, UInt64)]
        {
            var seen: [UInt64] = []
            for rank in 0..<world {
                let plan = try plan(records) { request in
                    request.batchSize = batch
                    request.worldSize = world
                    request.rank = rank
                    request.cursor.ordinal = ordinal
                    request.epochs = 1
                }
                var position: UInt64 = 0
                while let part = plan.batch(at: position) {
                    for index in 0..<part.count { seen.append(plan.place(part, index)) }
                    position += 1
                }
                #expect(position == plan.firstSteps)
            }
            #expect(seen.sorted() == Array(ordinal..<max(ordinal, records)))
        }
    }

    @Test("padded batches are full, with the epoch's first places; dropped ones are not given out")
    func remainders() throws {
        let padded = try plan(10) { request in
            request.batchSize = 4
            request.padsRemainder = true
            request.epochs = 1
        }
        let last = try #require(padded.batch(at: 2))
        #expect((0..<last.count).map { padded.place(last, $0) } == [8, 9, 0, 1])
        #expect(last.padded == 2)
        let dropped = try plan(10) { request in
            request.batchSize = 4
            request.dropsRemainder = true
            request.epochs = 1
        }
        #expect(dropped.firstSteps == 2)
        #expect(dropped.batch(at: 2) == nil)
        let tiny = try plan(1) { request in
            request.batchSize = 4
            request.padsRemainder = true
            request.epochs = 1
        }
        let only = try #require(tiny.batch(at: 0))
        #expect((0..<only.count).map { tiny.place(only, $0) } == [0, 0, 0, 0])
    }

    @Test("epochs follow one another; without a number of them there is no end, unless there is nothing")
    func epochs() throws {
        let endless = try plan(10) { request in
            request.batchSize = 5
            request.cursor.epoch = 3
            request.cursor.ordinal = 5
        }
        #expect(endless.batch(at: 0) == .init(epoch: 3, firstPlace: 5, count: 5, padded: 0))
        #expect(endless.batch(at: 1) == .init(epoch: 4, firstPlace: 0, count: 5, padded: 0))
        #expect(endless.batch(at: 1 << 40)?.epoch == 4 + ((1 << 40) - 1) / 2)
        #expect(try plan(0) { _ in }.batch(at: 0) == nil)
        #expect(throws: FeedFailure.self) { try plan(10) { $0.cursor.ordinal = 11 } }
    }
}
