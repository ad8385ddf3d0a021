import Testing

@testable import HTTPExchange

@Suite struct OriginGateTests {
    /// One after the other, as the gate lets them go.
    func admitted(_ gate: inout OriginGate, now: UInt64 = 0) -> [UInt64] {
        gate.admit(now: now).admissions.map(\.waiter)
    }

    func gate() -> OriginGate { OriginGate(retryShare: 0.1, retryBurst: 2) }

    let permit = OriginGate.Permit(isProbe: false, start: 0)

    @Test func thoseBeyondTheLimitWaitInTheirOrder() {
        var gate = gate()
        for waiter in 1...12 as ClosedRange<UInt64> { gate.arrive(waiter, .bulk, isRetry: false) }
        let first = admitted(&gate)
        #expect(first == Array(1...8))
        let none = admitted(&gate)
        #expect(none.isEmpty)
        gate.leave(permit, .answered(bytes: 1), now: 0)
        let next = admitted(&gate)
        #expect(next == [9])
        gate.abandon(10)
        gate.leave(permit, .answered(bytes: 1), now: 0)
        let afterNext = admitted(&gate)
        #expect(afterNext == [11])
    }

    @Test func urgentOnesGoFirstAndFindRoomBesideBulk() {
        var gate = gate()
        for waiter in 1...10 as ClosedRange<UInt64> { gate.arrive(waiter, .bulk, isRetry: false) }
        _ = admitted(&gate)
        for waiter in 21...24 as ClosedRange<UInt64> { gate.arrive(waiter, .urgent, isRetry: false) }
        let beside = admitted(&gate)
        #expect(beside == [21, 22])
        for _ in 0..<3 { gate.leave(permit, .answered(bytes: 1), now: 0) }
        let then = admitted(&gate)
        #expect(then == [23, 24])
    }

    @Test func bulkIsNotStarved() {
        var gate = gate()
        for waiter in 1...8 as ClosedRange<UInt64> { gate.arrive(waiter, .bulk, isRetry: false) }
        _ = admitted(&gate)
        gate.arrive(50, .bulk, isRetry: false)
        for waiter in 100..<130 as Range<UInt64> { gate.arrive(waiter, .urgent, isRetry: false) }
        var order = admitted(&gate)
        while order.count < 20 {
            gate.leave(permit, .answered(bytes: 1), now: 0)
            order += admitted(&gate)
        }
        #expect(order.contains(50))
    }

    @Test func nobodyEntersAtOncePastThoseWhoWait() {
        var gate = gate()
        let entered = (0..<9).map { _ in gate.enterAtOnce(.bulk, now: 0) != nil }
        #expect(entered == Array(repeating: true, count: 8) + [false])
        gate.arrive(1, .bulk, isRetry: false)
        gate.leave(permit, .answered(bytes: 1), now: 0)
        let passing = gate.enterAtOnce(.bulk, now: 0)
        #expect(passing == nil)
        let turn = admitted(&gate)
        #expect(turn == [1])
    }

    @Test func retriesWithoutBudgetGoOneAtATime() {
        var gate = gate()
        for waiter in 1...5 as ClosedRange<UInt64> { gate.arrive(waiter, .bulk, isRetry: true) }
        // Two had budget, one more has the turn.
        let first = gate.admit(now: 0).admissions
        #expect(first.map(\.waiter) == [3, 1, 2])
        #expect(first.map(\.permit.isProbe) == [true, false, false])
        let tooEarly = admitted(&gate)
        #expect(tooEarly.isEmpty)
        gate.leave(first[0].permit, .failed(isAnswer: true), now: 0)
        let (none, wake) = gate.admit(now: 0)
        #expect(none.isEmpty)
        #expect(wake?.waiter == 4)
        let inTime = admitted(&gate, now: wake?.at ?? 0)
        #expect(inTime == [4])
    }

    @Test func anOriginThatIsAwayGetsOneProbeThenEverybody() {
        var gate = gate()
        for waiter in 1...8 as ClosedRange<UInt64> { gate.arrive(waiter, .bulk, isRetry: false) }
        _ = admitted(&gate)
        for _ in 0..<8 { gate.leave(permit, .failed(isAnswer: false), now: 0) }
        #expect(gate.isAway)
        let passing = gate.enterAtOnce(.urgent, now: 0)
        #expect(passing == nil)
        for waiter in 11...30 as ClosedRange<UInt64> { gate.arrive(waiter, .bulk, isRetry: waiter < 15) }
        var now: UInt64 = 0
        var sent = 0
        // Ten seconds of absence.
        while now < 10_000_000_000 {
            let (admissions, wake) = gate.admit(now: now)
            sent += admissions.count
            for admission in admissions {
                #expect(admission.permit.isProbe)
                gate.leave(admission.permit, .failed(isAnswer: false), now: now)
                gate.arrive(admission.waiter, .bulk, isRetry: true)
            }
            now = max(now + 1, wake?.at ?? now)
        }
        #expect((8...16).contains(sent))
        let probe = gate.admit(now: now + 2_000_000_000).admissions
        #expect(probe.count == 1)
        gate.heardProbe(probe[0].permit)
        #expect(!gate.isAway)
        let all = admitted(&gate, now: now + 2_000_000_000)
        #expect(all.count >= 7)
    }

    @Test func aProbeThatWasHeardDoesNotEndTheNextOne() throws {
        var gate = gate()
        for waiter in 1...5 as ClosedRange<UInt64> { gate.arrive(waiter, .bulk, isRetry: true) }
        let first = try #require(gate.admit(now: 0).admissions.first?.permit)
        gate.heardProbe(first)
        let second = try #require(gate.admit(now: 0).admissions.first?.permit)
        #expect(first.isProbe && second.isProbe)
        gate.leave(first, .answered(bytes: 1), now: 0)
        let third = admitted(&gate)
        #expect(third.isEmpty, "the second is still under way")
        gate.leave(second, .answered(bytes: 1), now: 0)
        let afterwards = admitted(&gate)
        #expect(!afterwards.isEmpty)
    }
}

/// Simulated servers, in virtual time: how many requests at once does the rule settle at, and what does that bring?
@Suite struct ConcurrencyLimitTests {
    /// A server with `slots` workers of `service` nanoseconds each behind `delay` of network. Returns the limit's mean
    /// over the last half and the throughput as a share of what the server can do.
    func settle(
        slots: Int, service: UInt64, delay: UInt64, bytes: UInt64, demand: Int = 200, seconds: UInt64 = 60
    ) -> (limit: Double, share: Double) {
        var limit = ConcurrencyLimit()
        var now: UInt64 = 0
        var workers = [UInt64](repeating: 0, count: slots)
        var ends: [UInt64] = []
        var (sum, samples, done) = (0.0, 0, 0)
        let end = seconds * 1_000_000_000
        while now < end {
            while ends.count < min(limit.current, demand) {
                let free = workers.indices.min { workers[$0] < workers[$1] } ?? 0
                workers[free] = max(workers[free], now + delay / 2) + service
                ends.append(workers[free] + delay / 2)
                limit.began(inFlight: ends.count, now: now)
            }
            let next = ends.indices.min { ends[$0] < ends[$1] } ?? 0
            now = ends.remove(at: next)
            limit.ended(bytes: bytes, now: now)
            if now > end / 2 {
                sum += Double(limit.current)
                samples += 1
                done += 1
            }
        }
        let best = Double(slots) / Double(service) * Double(end / 2)
        return (sum / Double(max(samples, 1)), Double(done) / best)
    }

    @Test func aLongWayIsFilled() {
        // 20 ms away, 1 ms of work, 4 workers: 84 at once fill it.
        let (limit, share) = settle(slots: 4, service: 1_000_000, delay: 20_000_000, bytes: 4096, seconds: 12)
        #expect(share > 0.85, "limit \(limit), share \(share)")
        #expect(limit <= 128)
    }

    @Test func aServerThatIsFullIsNotPiledUpon() {
        // 2 workers next door: more than a few at once only wait there.
        let (limit, share) = settle(slots: 2, service: 10_000_000, delay: 1_000_000, bytes: 8 << 20)
        #expect(share > 0.95, "limit \(limit), share \(share)")
        #expect(limit < 12, "limit \(limit), share \(share)")
    }

    @Test func anUnusedLimitDoesNotGrow() {
        let (limit, _) = settle(
            slots: 64, service: 10_000_000, delay: 1_000_000, bytes: 4096, demand: 3, seconds: 10)
        #expect(limit <= 12)
    }

    @Test func throttlingHalvesItOncePerBurst() {
        var limit = ConcurrencyLimit(start: 64)
        for end in 100..<120 as Range<UInt64> { limit.throttled(start: 50, now: end) }
        #expect(limit.current == 32)
        limit.throttled(start: 110, now: 130)
        #expect(limit.current == 16)
        for time in 200..<220 as Range<UInt64> { limit.throttled(start: time, now: time) }
        #expect(limit.current == 1)
    }
}
