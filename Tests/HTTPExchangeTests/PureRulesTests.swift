import Testing

@testable import HTTPExchange

private let millisecond: UInt64 = 1_000_000
private let second: UInt64 = 1_000_000_000

@Suite struct TokenBucketTests {
    @Test func retriesAreAShareOfTheRequests() {
        var bucket = TokenBucket(capacity: 10, perRequest: 0.2)
        var spent = 0
        for _ in 0..<1000 {
            bucket.earn()
            if bucket.spend() { spent += 1 }
        }
        #expect((205...212).contains(spent))
    }

    @Test func whatIsNotSpentIsNotHoarded() {
        var bucket = TokenBucket(capacity: 3, perRequest: 1)
        for _ in 0..<100 { bucket.earn() }
        let spent = (0..<5).map { _ in bucket.spend() }
        #expect(spent == [true, true, true, false, false])
    }
}

@Suite struct BackoffTests {
    let backoff = Backoff(base: 50, cap: 2000)

    @Test func theBoundDoublesToItsCap() {
        #expect([0, 1, 2, 3, 4, 6, 7, 1000].map(backoff.bound) == [50, 50, 100, 200, 400, 1600, 2000, 2000])
    }

    @Test func everyDelayUpToTheBoundIsPossible() {
        #expect(Set((0..<51).map { backoff.delay(1, random: $0) }) == Set(0...50))
        #expect(backoff.delay(1, random: .max) <= 50)
        #expect(Backoff(base: .max / 2, cap: .max - 1).bound(5) == UInt64.max - 1)
    }
}

@Suite struct LatencyHistogramTests {
    @Test func quantilesLieWithinAFifth() throws {
        var histogram = LatencyHistogram()
        for value in 1...400 { histogram.add(UInt64(value) * millisecond) }
        for (share, exact) in [(0.5, 200.0), (0.95, 380), (0.99, 396)] {
            let found = Double(try #require(histogram.quantile(share))) / Double(millisecond)
            #expect(found >= exact && found <= exact * 1.2, "\(share): \(found)")
        }
    }

    @Test func oldOnesFade() throws {
        var histogram = LatencyHistogram()
        for _ in 0..<1000 { histogram.add(second) }
        for _ in 0..<2000 { histogram.add(millisecond) }
        #expect(try #require(histogram.quantile(0.99)) < 2 * millisecond)
    }

    @Test func everyDurationHasABucket() {
        var histogram = LatencyHistogram()
        #expect(histogram.quantile(0.5) == nil)
        for value in [0, 1, 999, 4000, .max / 2, .max] as [UInt64] { histogram.add(value) }
        #expect(histogram.quantile(0) != nil)
        #expect(histogram.quantile(1) ?? 0 > 3600 * second)
    }
}

@Suite struct CircuitBreakerTests {
    func expect(_ probe: CircuitBreaker.Probe, is wanted: CircuitBreaker.Probe) { #expect(probe == wanted) }

    @Test func itOpensAfterSeveralFailuresInARow() {
        var circuit = CircuitBreaker(threshold: 3)
        circuit.failed(isProbe: false, after: 0, now: 0)
        circuit.failed(isProbe: false, after: 0, now: 0)
        circuit.succeeded(isProbe: false)
        for _ in 0..<2 { circuit.failed(isProbe: false, after: 0, now: 0) }
        #expect(!circuit.isOpen)
        circuit.failed(isProbe: false, after: 0, now: 0)
        #expect(circuit.isOpen)
    }

    @Test func oneProbeAtATimeAndRarerWithEachFailure() {
        var circuit = CircuitBreaker(threshold: 1, firstInterval: 100, longestInterval: 400)
        circuit.failed(isProbe: false, after: 0, now: 0)
        expect(circuit.probe(now: 99), is: .at(100))
        expect(circuit.probe(now: 100), is: .go)
        expect(circuit.probe(now: 5000), is: .busy)
        var now: UInt64 = 100
        var gaps: [UInt64] = []
        for _ in 0..<4 {
            circuit.failed(isProbe: true, after: 0, now: now)
            guard case .at(let next) = circuit.probe(now: now) else { return }
            gaps.append(next - now)
            now = next
            let probe = circuit.probe(now: now)
            #expect(probe == .go)
        }
        #expect(gaps == [100, 200, 400, 400])
        circuit.succeeded(isProbe: true)
        #expect(!circuit.isOpen)
    }

    @Test func aServerThatAsksForTimeGetsIt() {
        var circuit = CircuitBreaker(threshold: 1, firstInterval: 100, longestInterval: 400)
        circuit.failed(isProbe: false, after: 5000, now: 0)
        expect(circuit.probe(now: 0), is: .at(5000))
    }

    @Test func aProbeThatSaysNothingGivesItsTurnBack() {
        var circuit = CircuitBreaker(threshold: 1, firstInterval: 100)
        circuit.failed(isProbe: false, after: 0, now: 0)
        expect(circuit.probe(now: 100), is: .go)
        circuit.abandoned(isProbe: true)
        #expect(circuit.isOpen)
        expect(circuit.probe(now: 100), is: .go)
    }
}

@Suite struct ReadTimesTests {
    let given = HTTPDeadlines(
        connect: 5 * second, firstByte: 30 * second, stall: 10 * second, total: 300 * second)

    @Test func nothingIsTightenedBeforeEnoughIsKnown() {
        var times = ReadTimes()
        for _ in 0..<19 { times.add(firstByte: millisecond) }
        #expect(times.deadlines(given, attempt: 0) == given)
        #expect(times.hedgeDelay == nil)
    }

    @Test func deadlinesFollowWhatIsUsual() {
        var fast = ReadTimes()
        var slow = ReadTimes()
        for _ in 0..<100 {
            fast.add(firstByte: 5 * millisecond)
            slow.add(firstByte: 1500 * millisecond)
        }
        #expect(fast.deadlines(given, attempt: 0).firstByte == second)
        #expect((6 * second...8 * second).contains(slow.deadlines(given, attempt: 0).firstByte))
        #expect(fast.deadlines(given, attempt: 0).total == given.total)
    }

    @Test func everyFailedAttemptIsGivenTwiceTheTimeUpToWhatTheCallerAllows() {
        var times = ReadTimes()
        for _ in 0..<100 { times.add(firstByte: millisecond) }
        #expect(
            (0..<7).map { times.deadlines(given, attempt: $0).firstByte / second } == [
                1, 2, 4, 8, 16, 30, 30,
            ])
    }

    @Test func hedgesGoOutPastWhatNearlyAllTake() throws {
        var times = ReadTimes()
        for index in 0..<200 { times.add(firstByte: index % 20 == 0 ? second : 40 * millisecond) }
        let delay = try #require(times.hedgeDelay)
        #expect((80 * millisecond...100 * millisecond).contains(delay))
        var quick = ReadTimes()
        for _ in 0..<200 { quick.add(firstByte: millisecond / 10) }
        #expect(quick.hedgeDelay == 20 * millisecond)
    }
}

@Suite struct ReadRateTests {
    @Test func longBodiesCountForMoreThanShortOnes() throws {
        var times = ReadTimes()
        times.add(body: 10 << 10, in: second)
        #expect(times.bytesPerSecond == nil, "small ones say nothing")
        for _ in 0..<10 {
            times.add(body: 64 << 10, in: millisecond / 10)
            times.add(body: 10 << 20, in: second)
        }
        let rate = try #require(times.bytesPerSecond)
        #expect((9e6...12e6).contains(rate))
    }
}

@Suite struct ThroughputGuardTests {
    @Test func aTrickleIsGivenUpWhereOthersRun() {
        var guardian = ThroughputGuard(usual: 50e6, now: 0)
        var verdicts: [Bool] = []
        for tick in 1...5 { verdicts.append(guardian.moved(500, now: UInt64(tick) * second / 2)) }
        #expect(verdicts == [true, true, true, false, true])
    }

    @Test func whatIsSlowForAllIsNoTrickle() {
        var guardian = ThroughputGuard(usual: 20_000, now: 0)
        let isWorthIt = guardian.moved(2000, now: 2 * second)
        #expect(isWorthIt)
        var unknowing = ThroughputGuard(usual: nil, now: 0)
        let isAccepted = unknowing.moved(1, now: 100 * second)
        #expect(isAccepted)
    }
}

@Suite struct ReadProgressTests {
    let origin = HTTPOrigin(isSecure: false, host: "store")

    func head(_ status: Int, tag: String? = "\"a\"", length: Int? = nil) -> HTTPResponseHead {
        var fields: [HTTPField] = []
        if let tag { fields.append(HTTPField("etag", tag)) }
        if let length { fields.append(HTTPField("content-length", "\(length)")) }
        return HTTPResponseHead(status: status, fields: fields)
    }

    /// What the next attempt asks for, in words.
    func next(_ progress: ReadProgress) -> String {
        switch progress.next {
        case .send(let request):
            (request.rangeValue ?? "all") + request.fields.map { " \($0.name)=\($0.value)" }.joined()
        case .done: "done"
        case .cannotGoOn: "cannot"
        }
    }

    @Test func aRangeGoesOnWhereItBrokeOff() throws {
        var progress = ReadProgress(HTTPRequest(.get, origin, "/", range: 100..<200))
        #expect(next(progress) == "bytes=100-199")
        let isFirst = try progress.accept(head(206))
        #expect(isFirst)
        progress.took(30)
        #expect(next(progress) == "bytes=130-199 if-match=\"a\"")
        let isSecond = try progress.accept(head(206))
        #expect(!isSecond)
        progress.took(70)
        #expect(next(progress) == "done")
    }

    @Test func aWholeObjectGoesOnAsARange() throws {
        var progress = ReadProgress(HTTPRequest(.get, origin, "/"))
        _ = try progress.accept(head(200, length: 50))
        progress.took(20)
        #expect(next(progress) == "bytes=20-49 if-match=\"a\"")
    }

    @Test(arguments: [nil, "W/\"a\""])
    func withoutAStrongTagNothingIsPiecedTogether(_ tag: String?) throws {
        var progress = ReadProgress(HTTPRequest(.get, origin, "/", range: 0..<9))
        _ = try progress.accept(head(206, tag: tag))
        progress.took(3)
        #expect(next(progress) == "cannot")
    }

    @Test func anObjectThatChangedEndsIt() throws {
        for second in [head(206, tag: "\"b\""), head(412), head(206, tag: nil)] {
            var progress = ReadProgress(HTTPRequest(.get, origin, "/", range: 0..<9))
            _ = try progress.accept(head(206))
            progress.took(3)
            let error = #expect(throws: HTTPError.self) { _ = try progress.accept(second) }
            #expect(error?.status == 412)
        }
    }

    @Test func theCallersOwnConditionIsKept() throws {
        let request = HTTPRequest(
            .get, origin, "/", fields: [HTTPField("if-match", "\"a\"")], range: 0..<9)
        var progress = ReadProgress(request)
        _ = try progress.accept(head(206))
        progress.took(3)
        #expect(next(progress) == "bytes=3-8 if-match=\"a\"")
    }
}

@Suite struct VerdictTests {
    func verdict(_ status: Int, _ fields: [HTTPField] = []) -> String {
        switch HTTPVerdict.standard(HTTPResponseHead(status: status, fields: fields)) {
        case .deliver: "deliver"
        case .retry(let isThrottle, let after, _):
            (isThrottle ? "throttle" : "retry") + (after.map { " \($0)" } ?? "")
        case .fail: "fail"
        }
    }

    @Test func statusesMeanWhatTheySay() {
        #expect(
            [200, 206, 304, 404, 412, 501, 507].map { verdict($0) } == Array(repeating: "deliver", count: 7))
        #expect([408, 500, 502, 504].map { verdict($0) } == Array(repeating: "retry", count: 4))
        #expect([429, 503].map { verdict($0) } == ["throttle", "throttle"])
    }

    @Test func theWaitAServerAsksForIsBounded() {
        #expect(verdict(503, [HTTPField("retry-after", "2")]) == "throttle 2000000000")
        #expect(verdict(503, [HTTPField("retry-after", "99999999999999")]) == "throttle 60000000000")
        #expect(verdict(503, [HTTPField("retry-after", "-1")]) == "throttle")
        #expect(verdict(503, [HTTPField("retry-after", "Fri, 31 Dec 1999 23:59:59 GMT")]) == "throttle")
    }
}
