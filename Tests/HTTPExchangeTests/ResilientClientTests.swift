import HTTPTestSupport
import KamlTestSupport
import Synchronization
import System
import Testing

@testable import HTTPExchange

/// Quick enough for tests.
private let hasty = ResiliencePolicy(
    patience: 2_000_000_000, firstPatience: 2_000_000_000, backoffBase: 1_000_000, backoffCap: 5_000_000)

private let origin = HTTPOrigin(isSecure: false, host: "store")

@Suite struct RetryTests {
    let object = SeededRandom(seed: 3).bytes(10_000)

    func get(_ range: Range<UInt64>? = 100..<5100) -> HTTPRequest {
        HTTPRequest(.get, origin, "/object", range: range)
    }

    @Test(arguments: [
        HTTPError.Code.connectionLost, .timedOut, .cannotConnect, .cannotResolve, .malformed, .unexpected,
    ])
    func aReadThatFailsIsTriedAgain(_ code: HTTPError.Code) throws {
        let object = object
        let fake = FakeHTTPClient { $0.number < 2 ? [.fail(code)] : .part(of: object, for: $0.request) }
        let client = ResilientHTTPClient(fake, policy: hasty)
        let collector = Collector()
        try client.exchange(get(), collector, deadlines: .generous, cancellation: nil)
        #expect(collector.body == Array(object[100..<5100]))
        #expect(collector.heads.count == 1)
        #expect(client.statistics.retries == 2)
    }

    @Test(arguments: [HTTPError.Code.untrusted, .unusable, .refused])
    func whatWillNotChangeIsNotTriedAgain(_ code: HTTPError.Code) throws {
        let fake = FakeHTTPClient { _ in [.fail(code)] }
        let client = ResilientHTTPClient(fake, policy: hasty)
        let error = httpError { () throws(HTTPError) in
            try client.exchange(get(), Collector(), deadlines: .generous, cancellation: nil)
        }
        #expect(error?.code == code)
        #expect(fake.sent.count == 1)
    }

    @Test func anAnswerThatIsAlwaysDamagedFailsAfterAFewTries() throws {
        let fake = FakeHTTPClient { _ in .answer(200, [1]) }
        let client = ResilientHTTPClient(fake, policy: hasty)
        let error = httpError { () throws(HTTPError) in
            try client.exchange(get(), Collector(), deadlines: .generous, cancellation: nil)
        }
        #expect(error?.code == .unexpected)
        #expect(fake.sent.count == 3)
    }

    @Test(arguments: [500, 502, 503, 504, 429, 408])
    func answersThatPassAreAskedForAgain(_ status: Int) throws {
        let object = object
        let fake = FakeHTTPClient {
            $0.number < 2 ? .answer(status, Array("<Error/>".utf8)) : .part(of: object, for: $0.request)
        }
        let client = ResilientHTTPClient(fake, policy: hasty)
        let collector = Collector()
        try client.exchange(get(), collector, deadlines: .generous, cancellation: nil)
        #expect(collector.body == Array(object[100..<5100]))
        #expect(client.statistics.throttles == ([503, 429].contains(status) ? 2 : 0))
    }

    @Test func aFullServerIsNotAskedAgain() throws {
        let fake = FakeHTTPClient { _ in .answer(507) }
        let head = try ResilientHTTPClient(fake, policy: hasty).exchange(
            HTTPRequest(.put, origin, "/", isRepeatable: true), Collector(), deadlines: .generous,
            cancellation: nil)
        #expect(head.status == 507)
        #expect(fake.sent.count == 1)
    }

    @Test func writesAreGivenTheTimeTheyAskForAndReadsAPartOfThePatience() throws {
        let fake = FakeHTTPClient { _ in .answer(200) }
        let client = ResilientHTTPClient(fake, policy: hasty)
        for request in [
            HTTPRequest(.post, origin, "/", isRepeatable: true), HTTPRequest(.get, origin, "/"),
        ] {
            try client.exchange(request, Collector(), deadlines: .generous, cancellation: nil)
        }
        #expect(
            fake.sent.map { $0.deadlines.firstByte == HTTPDeadlines.generous.firstByte } == [true, false])
    }

    @Test func theReceiverIsLetGoWhenTheExchangeEnds() throws {
        weak var receiver: Collector?
        let delivery: ExchangeDelivery
        do {
            let collector = Collector()
            receiver = collector
            delivery = ExchangeDelivery(get(), collector, ResilienceCounters(.process))
        }
        #expect(receiver != nil)
        delivery.end()
        #expect(receiver == nil)
    }

    @Test func otherAnswersAreTheCallers() throws {
        let fake = FakeHTTPClient { _ in .answer(404, Array("<Error/>".utf8)) }
        let collector = Collector()
        let head = try ResilientHTTPClient(fake, policy: hasty).exchange(
            get(), collector, deadlines: .generous, cancellation: nil)
        #expect(head.status == 404)
        #expect(collector.body == Array("<Error/>".utf8))
        #expect(fake.sent.count == 1)
    }

    @Test func whatMayNotBeSentTwiceIsNot() throws {
        for steps in [[FakeHTTPClient.Step.fail(.connectionLost)], .answer(500), .answer(503)] {
            let fake = FakeHTTPClient { _ in steps }
            let error = httpError { () throws(HTTPError) in
                try ResilientHTTPClient(fake, policy: hasty).exchange(
                    HTTPRequest(.post, origin, "/"), Collector(), deadlines: .generous, cancellation: nil)
            }
            #expect(error != nil)
            #expect(fake.sent.count == 1)
        }
    }

    @Test func aRequestThatWasNeverSentMayGoAgainWhateverItIs() throws {
        let fake = FakeHTTPClient { $0.number == 0 ? [.fail(.cannotConnect)] : .answer(200) }
        try ResilientHTTPClient(fake, policy: hasty).exchange(
            HTTPRequest(.post, origin, "/"), Collector(), deadlines: .generous, cancellation: nil)
        #expect(fake.sent.count == 2)
    }

    @Test func patienceEndsInTheLastError() throws {
        var policy = hasty
        policy.patience = 100_000_000
        let fake = FakeHTTPClient { _ in .answer(503) }
        let start = HostClock().monotonicNanoseconds()
        let error = httpError { () throws(HTTPError) in
            try ResilientHTTPClient(fake, policy: policy).exchange(
                get(), Collector(), deadlines: .generous, cancellation: nil)
        }
        let took = HostClock().monotonicNanoseconds() - start
        #expect(error?.code == .refused)
        #expect(error?.status == 503)
        #expect((50_000_000..<2_000_000_000).contains(took))
    }

    @Test func everyAttemptIsPreparedAnew() throws {
        let object = object
        let count = Mutex(0)
        let fake = FakeHTTPClient { $0.number < 2 ? .answer(500) : .part(of: object, for: $0.request) }
        let client = ResilientHTTPClient(
            fake, policy: hasty,
            prepare: { (request) throws(HTTPError) in
                var request = request
                let number = count.withLock { count in
                    count += 1
                    return count
                }
                request.fields.append(HTTPField("authorization", "signature \(number)"))
                return request
            })
        try client.exchange(get(), Collector(), deadlines: .generous, cancellation: nil)
        #expect(
            fake.sent.map { $0.request.fields.map(\.value) } == [
                ["signature 1"], ["signature 2"], ["signature 3"],
            ])
    }

    @Test func theEvaluationSeesTheErrorsBodyAndDecides() throws {
        let object = object
        let fake = FakeHTTPClient {
            $0.number == 0 ? .answer(403, Array("ExpiredToken".utf8)) : .part(of: object, for: $0.request)
        }
        let client = ResilientHTTPClient(
            fake, policy: hasty,
            evaluate: { _, head, body in
                head.status == 403 && body == Array("ExpiredToken".utf8)
                    ? .retry(isThrottle: false, after: nil) : .standard(head)
            })
        let collector = Collector()
        try client.exchange(get(), collector, deadlines: .generous, cancellation: nil)
        #expect(collector.heads.map(\.status) == [206])
        let refused = HTTPError(.refused, origin, "no such key", status: 404)
        let strict = ResilientHTTPClient(
            FakeHTTPClient { _ in .answer(404) }, policy: hasty, evaluate: { _, _, _ in .fail(refused) })
        let error = httpError { () throws(HTTPError) in
            try strict.exchange(get(), Collector(), deadlines: .generous, cancellation: nil)
        }
        #expect(error == refused)
    }

    @Test func aReceiversRefusalEndsTheExchange() throws {
        let object = object
        let fake = FakeHTTPClient { .part(of: object, for: $0.request) }
        let refusal = HTTPError(.connectionLost, origin, "looks like one to be retried")
        for path in [\Collector.headError, \Collector.bodyError] {
            let collector = Collector()
            collector[keyPath: path] = refusal
            let error = httpError { () throws(HTTPError) in
                try ResilientHTTPClient(fake, policy: hasty).exchange(
                    get(), collector, deadlines: .generous, cancellation: nil)
            }
            #expect(error == refusal)
        }
        #expect(fake.sent.count == 2)
    }

    @Test func aReceiverThatHasEnoughHasEnough() throws {
        let object = object
        let fake = FakeHTTPClient { .part(of: object, for: $0.request) }
        let collector = Collector()
        collector.enough = 10
        try ResilientHTTPClient(fake, policy: hasty).exchange(
            get(), collector, deadlines: .generous, cancellation: nil)
        #expect(fake.sent.count == 1)
    }

    @Test func cancellingEndsTheWaitBetweenAttempts() throws {
        var policy = hasty
        policy.backoffBase = 60_000_000_000
        policy.backoffCap = 60_000_000_000
        policy.patience = 600_000_000_000
        policy.firstPatience = 600_000_000_000
        let fake = FakeHTTPClient { _ in .answer(500) }
        let cancellation = HTTPCancellation()
        let thread = try Thread(name: "cancel") {
            Parker().park(nanoseconds: 50_000_000)
            cancellation.cancel()
        }
        let start = HostClock().monotonicNanoseconds()
        let error = httpError { () throws(HTTPError) in
            try ResilientHTTPClient(fake, policy: policy, random: LargestRandom()).exchange(
                get(), Collector(),
                deadlines: HTTPDeadlines(connect: .max, firstByte: .max, stall: .max, total: .max),
                cancellation: cancellation)
        }
        thread.join()
        #expect(error?.code == .cancelled)
        #expect(HostClock().monotonicNanoseconds() - start < 2_000_000_000)
    }

    @Test func aServerThatWantsToBeLeftAloneIs() throws {
        let object = object
        let fake = FakeHTTPClient {
            $0.number == 0
                ? [.head(503, [HTTPField("retry-after", "1"), HTTPField("content-length", "0")])]
                : .part(of: object, for: $0.request)
        }
        try ResilientHTTPClient(fake, policy: hasty).exchange(
            get(), Collector(), deadlines: .generous, cancellation: nil)
        let sent = fake.sent
        #expect(sent[1].time - sent[0].time >= 1_000_000_000)
    }
}

/// Every byte is 255, except that the word is kept below the cap's modulus: the longest delays.
private struct LargestRandom: RandomSource {
    func fill(_ buffer: UnsafeMutableRawBufferPointer) {
        // 60 s, as the delay's bound.
        withUnsafeBytes(of: UInt64(60_000_000_000)) { buffer.copyMemory(from: $0) }
    }
}

@Suite struct ResumeTests {
    let object = SeededRandom(seed: 4).bytes(100_000)

    @Test func aReadThatDiesInTheMiddleGoesOnUnnoticed() throws {
        let object = object
        let fake = FakeHTTPClient {
            .part(of: object, for: $0.request, onlyFirst: $0.number < 3 ? 1000 : nil)
        }
        let client = ResilientHTTPClient(fake, policy: hasty)
        let collector = Collector()
        try client.exchange(
            HTTPRequest(.get, origin, "/", range: 10..<90_010), collector, deadlines: .generous,
            cancellation: nil)
        #expect(collector.body == Array(object[10..<90_010]))
        #expect(collector.heads.count == 1)
        #expect(fake.sent.map { $0.request.range?.lowerBound } == [10, 1010, 2010, 3010])
        #expect(fake.sent.dropFirst().allSatisfy { $0.request.fields == [HTTPField("if-match", "\"a\"")] })
        #expect(client.statistics.resumed == 3)
        #expect(client.statistics.bytes == 90_000)
    }

    @Test func anObjectThatChangesInTheMiddleIsNeverMixed() throws {
        let object = object
        let fake = FakeHTTPClient { sent in
            sent.number == 0
                ? .part(of: object, for: sent.request, onlyFirst: 1000)
                : .part(of: object, for: sent.request, tag: "\"b\"")
        }
        let collector = Collector()
        let error = httpError { () throws(HTTPError) in
            try ResilientHTTPClient(fake, policy: hasty).exchange(
                HTTPRequest(.get, origin, "/", range: 0..<5000), collector, deadlines: .generous,
                cancellation: nil)
        }
        #expect(error?.status == 412)
        #expect(collector.body == Array(object[0..<1000]))
    }

    @Test(arguments: [400, 401, 403, 404, 416, 302])
    func aRefusalInTheMiddleKeepsItsStatus(_ status: Int) throws {
        let object = object
        let fake = FakeHTTPClient { sent in
            sent.number == 0
                ? .part(of: object, for: sent.request, onlyFirst: 1000) : .answer(status, Array("no".utf8))
        }
        let collector = Collector()
        let error = httpError { () throws(HTTPError) in
            try ResilientHTTPClient(fake, policy: hasty).exchange(
                HTTPRequest(.get, origin, "/", range: 0..<5000), collector, deadlines: .generous,
                cancellation: nil)
        }
        #expect(error?.code == .refused)
        #expect(error?.status == status)
        #expect(collector.body == Array(object[0..<1000]))
        #expect(fake.sent.count == 2)
    }

    @Test func manyShortLivedConnectionsStillBringTheWhole() throws {
        let object = object
        let fake = FakeHTTPClient { .part(of: object, for: $0.request, onlyFirst: 1500) }
        let collector = Collector()
        try ResilientHTTPClient(fake, policy: hasty).exchange(
            HTTPRequest(.get, origin, "/", range: 0..<60_000), collector, deadlines: .generous,
            cancellation: nil)
        #expect(collector.body == Array(object[0..<60_000]))
        #expect(fake.sent.count == 40)
    }
}

@Suite struct HedgeTests {
    let object = SeededRandom(seed: 5).bytes(1000)

    /// A client that knows its origin as one that answers at once.
    func warmClient(_ fake: FakeHTTPClient) throws -> ResilientHTTPClient {
        let client = ResilientHTTPClient(fake, policy: hasty)
        for _ in 0..<100 {
            try client.exchange(
                HTTPRequest(.get, origin, "/warm", range: 0..<10), Collector(), deadlines: .generous,
                cancellation: nil)
        }
        return client
    }

    @Test func aLateAnswerIsAskedForTwiceAndTheFirstOneTaken() throws {
        let object = object
        let isLate = Mutex(false)
        let fake = FakeHTTPClient { sent in
            let hangs =
                sent.request.target == "/late"
                && isLate.withLock { seen in
                    defer { seen = true }
                    return !seen
                }
            return hangs ? [.silence] : .part(of: object, for: sent.request)
        }
        let client = try warmClient(fake)
        let collector = Collector()
        let start = HostClock().monotonicNanoseconds()
        try client.exchange(
            HTTPRequest(.get, origin, "/late", range: 5..<905), collector, deadlines: .generous,
            cancellation: nil)
        #expect(HostClock().monotonicNanoseconds() - start < 800_000_000)
        #expect(collector.body == Array(object[5..<905]))
        #expect(collector.heads.count == 1)
        #expect(client.statistics.hedges == 1)
        #expect(client.statistics.hedgeWins == 1)
        #expect(client.statistics.retries == 0)
    }

    @Test func theFirstRequestMayStillWin() throws {
        let object = object
        let isLate = Mutex(0)
        let fake = FakeHTTPClient { sent in
            guard sent.request.target == "/late" else { return .part(of: object, for: sent.request) }
            let turn = isLate.withLock { turn in
                turn += 1
                return turn
            }
            return turn == 1 ? [.wait(milliseconds: 150)] + .part(of: object, for: sent.request) : [.silence]
        }
        let client = try warmClient(fake)
        let collector = Collector()
        try client.exchange(
            HTTPRequest(.get, origin, "/late", range: 5..<905), collector, deadlines: .generous,
            cancellation: nil)
        #expect(collector.body == Array(object[5..<905]))
        #expect(client.statistics.hedges == 1)
        #expect(client.statistics.hedgeWins == 0)
    }

    @Test func aFirstRequestThatBreaksLeavesItToTheSecond() throws {
        let object = object
        let turns = Mutex(0)
        let fake = FakeHTTPClient { sent in
            guard sent.request.target == "/late" else { return .part(of: object, for: sent.request) }
            let turn = turns.withLock { turn in
                turn += 1
                return turn
            }
            return turn == 1
                ? [.wait(milliseconds: 100), .fail(.connectionLost)]
                : [.wait(milliseconds: 150)] + .part(of: object, for: sent.request)
        }
        let client = try warmClient(fake)
        let collector = Collector()
        try client.exchange(
            HTTPRequest(.get, origin, "/late", range: 5..<905), collector, deadlines: .generous,
            cancellation: nil)
        #expect(collector.body == Array(object[5..<905]))
        #expect(client.statistics.retries == 0)
        #expect(client.statistics.hedgeWins == 1)
    }

    @Test func hedgesAreASmallShareOfTheRequests() throws {
        let object = object
        let fake = FakeHTTPClient { sent in
            sent.request.target == "/late"
                ? [.wait(milliseconds: 60)] + .part(of: object, for: sent.request)
                : .part(of: object, for: sent.request)
        }
        let client = try warmClient(fake)
        try inParallel(20) { _ in
            try client.exchange(
                HTTPRequest(.get, origin, "/late", range: 0..<10), Collector(), deadlines: .generous,
                cancellation: nil)
        }
        #expect(client.statistics.hedges <= 5)
    }

    @Test func nobodyIsAskedTwiceWhoIsOverloaded() throws {
        let object = object
        let throttled = Mutex(false)
        let fake = FakeHTTPClient { sent in
            switch sent.request.target {
            case "/busy":
                return throttled.withLock { seen in
                    defer { seen = true }
                    return seen ? .part(of: object, for: sent.request) : .answer(503)
                }
            case "/late": return [.wait(milliseconds: 100)] + .part(of: object, for: sent.request)
            default: return .part(of: object, for: sent.request)
            }
        }
        let client = try warmClient(fake)
        for target in ["/busy", "/late"] {
            try client.exchange(
                HTTPRequest(.get, origin, target, range: 0..<10), Collector(), deadlines: .generous,
                cancellation: nil)
        }
        #expect(client.statistics.hedges == 0)
    }
}

@Suite struct CrowdTests {
    let object = SeededRandom(seed: 6).bytes(1000)

    @Test func aBackendThatIsAwayIsNotStormedAndItsReturnIsSeenSoon() throws {
        let object = object
        let isAway = Mutex(true)
        let fake = FakeHTTPClient { sent in
            isAway.withLock { $0 }
                ? [.wait(milliseconds: 1), .fail(.cannotConnect)] : .part(of: object, for: sent.request)
        }
        var policy = hasty
        policy.patience = 20_000_000_000
        policy.firstPatience = 20_000_000_000
        let client = ResilientHTTPClient(fake, policy: policy)
        let back = Mutex((sent: 0, time: UInt64(0)))
        let thread = try Thread(name: "back") {
            Parker().park(nanoseconds: 1_500_000_000)
            back.withLock { $0 = (fake.sent.count, HostClock().monotonicNanoseconds()) }
            isAway.withLock { $0 = false }
        }
        let done = Mutex<[UInt64]>([])
        try inParallel(64) { _ in
            let collector = Collector()
            try client.exchange(
                HTTPRequest(.get, origin, "/", range: 0..<100), collector, deadlines: .generous,
                cancellation: nil)
            guard collector.body == Array(object[0..<100]) else {
                Issue.record("other bytes came")
                return
            }
            done.withLock { $0.append(HostClock().monotonicNanoseconds()) }
        }
        thread.join()
        let (sent, time) = back.withLock { $0 }
        // The limit's worth of first attempts, the burst of retries, then probes.
        #expect(sent <= 60, "\(sent) requests while away")
        let last = try #require(done.withLock { $0.max() })
        #expect(last - time < 2_500_000_000)
    }

    @Test func throttlingLowersWhatGoesOutAtOnce() throws {
        let object = object
        let fake = FakeHTTPClient { sent in
            sent.atOnce > 3
                ? .answer(503) : [.wait(milliseconds: 5)] + .part(of: object, for: sent.request)
        }
        var policy = hasty
        policy.patience = 20_000_000_000
        let client = ResilientHTTPClient(fake, policy: policy)
        try inParallel(16) { _ in
            for _ in 0..<10 {
                try client.exchange(
                    HTTPRequest(.get, origin, "/", range: 0..<100), Collector(), deadlines: .generous,
                    cancellation: nil)
            }
        }
        #expect(client.concurrency(of: origin) < 8)
        #expect(client.statistics.throttles > 0)
        #expect(fake.sent.count < 2 * 160)
    }

    @Test func noMoreGoOutAtOnceThanTheLimit() throws {
        let object = object
        let fake = FakeHTTPClient { [.wait(milliseconds: 5)] + .part(of: object, for: $0.request) }
        let client = ResilientHTTPClient(fake, policy: hasty)
        try inParallel(40) { _ in
            try client.exchange(
                HTTPRequest(.get, origin, "/", range: 0..<100), Collector(), deadlines: .generous,
                cancellation: nil)
        }
        #expect(fake.mostAtOnce <= 12)
        #expect(fake.sent.count == 40)
    }

    @Test func oneObjectThatAlwaysFailsDoesNotHoldUpOthers() throws {
        let object = object
        let fake = FakeHTTPClient {
            $0.request.target == "/broken" ? .answer(500) : .part(of: object, for: $0.request)
        }
        let client = ResilientHTTPClient(fake, policy: hasty)
        let longest = Mutex<UInt64>(0)
        try inParallel(5) { index in
            let end = HostClock().monotonicNanoseconds() + 1_500_000_000
            while HostClock().monotonicNanoseconds() < end {
                let start = HostClock().monotonicNanoseconds()
                let request = HTTPRequest(.get, origin, index == 0 ? "/good" : "/broken", range: 0..<100)
                let error = httpError { () throws(HTTPError) in
                    try client.exchange(request, Collector(), deadlines: .generous, cancellation: nil)
                }
                if index == 0 {
                    if let error { throw error }
                    let took = HostClock().monotonicNanoseconds() - start
                    longest.withLock { $0 = max($0, took) }
                    Parker().park(nanoseconds: 20_000_000)
                }
            }
        }
        #expect(longest.withLock { $0 } < 700_000_000)
    }

    @Test func oneOriginThatHangsDoesNotHoldUpAnother() throws {
        let object = object
        let fake = FakeHTTPClient {
            $0.request.origin == origin ? [.silence] : .part(of: object, for: $0.request)
        }
        var policy = hasty
        policy.patience = 500_000_000
        let client = ResilientHTTPClient(fake, policy: policy)
        let other = HTTPOrigin(isSecure: false, host: "other")
        let times = Mutex<[UInt64]>([])
        try inParallel(32) { index in
            let start = HostClock().monotonicNanoseconds()
            let request = HTTPRequest(.get, index % 2 == 0 ? origin : other, "/", range: 0..<100)
            let error = httpError { () throws(HTTPError) in
                try client.exchange(request, Collector(), deadlines: .generous, cancellation: nil)
            }
            if index % 2 == 1 {
                guard error == nil else {
                    Issue.record("the good origin failed")
                    return
                }
                times.withLock { $0.append(HostClock().monotonicNanoseconds() - start) }
            }
        }
        #expect(times.withLock { $0.max() ?? 0 } < 300_000_000)
    }
}
