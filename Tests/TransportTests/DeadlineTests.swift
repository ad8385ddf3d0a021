import Glibc
import HTTPExchange
import HTTPTestSupport
import System
import Testing

@testable import Transport

@Suite struct DeadlineTests {
    /// One deadline of 150 ms, the others far away.
    static func only(_ path: WritableKeyPath<HTTPDeadlines, UInt64>) -> HTTPDeadlines {
        var deadlines = HTTPDeadlines.generous
        deadlines[keyPath: path] = 150_000_000
        return deadlines
    }

    /// What the exchange fails with, and after how many milliseconds.
    static func timed(_ body: () throws(HTTPError) -> Void) -> (HTTPError?, Int) {
        let start = HostClock().monotonicNanoseconds()
        let error = httpError(body)
        return (error, Int((HostClock().monotonicNanoseconds() - start) / 1_000_000))
    }

    func expectTimeout(
        _ path: WritableKeyPath<HTTPDeadlines, UInt64>, saying word: String, _ request: HTTPRequest
    ) {
        let (error, milliseconds) = Self.timed { () throws(HTTPError) in
            try CurlHTTPClient().exchange(request, Collector(), deadlines: Self.only(path), cancellation: nil)
        }
        #expect(error?.code == .timedOut)
        #expect(error?.detail.contains(word) == true, "\(error?.detail ?? "no error")")
        // The upper bound leaves room for a busy machine.
        #expect((150..<2000).contains(milliseconds))
    }

    @Test func aServerThatDoesNotAnswer() throws {
        let server = try ScriptedServer { _ in [.silence] }
        defer { server.stop() }
        expectTimeout(\.firstByte, saying: "no answer", HTTPRequest(.get, server.origin, "/"))
    }

    @Test func aHeadThatNeverEnds() throws {
        let server = try ScriptedServer { _ in [.text("HTTP/1.1 200 OK\r\nX: y\r\n"), .silence] }
        defer { server.stop() }
        expectTimeout(\.firstByte, saying: "no answer", HTTPRequest(.get, server.origin, "/"))
    }

    @Test func aBodyThatStops() throws {
        let server = try ScriptedServer { _ in
            [.text("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"), .silence]
        }
        defer { server.stop() }
        expectTimeout(\.stall, saying: "no byte", HTTPRequest(.get, server.origin, "/"))
    }

    @Test func aTrickleIsHeldToTheTotal() throws {
        let server = try ScriptedServer { _ in
            [.text("HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n")]
                + (0..<999).flatMap { _ in [.text("x"), .wait(milliseconds: 20)] }
        }
        defer { server.stop() }
        expectTimeout(\.total, saying: "no end", HTTPRequest(.get, server.origin, "/"))
    }

    @Test func aServerThatDoesNotTakeTheBody() throws {
        // Nobody accepts: the kernel takes what its buffers hold.
        let (listener, origin) = try ScriptedServer.listen(backlog: 16)
        defer { close(listener) }
        expectTimeout(
            \.stall, saying: "no byte",
            HTTPRequest(.put, origin, "/", body: .bytes([UInt8](repeating: 1, count: 64 << 20))))
    }

    @Test func aServerThatDoesNotTakeConnections() throws {
        let (listener, origin) = try ScriptedServer.listen(backlog: 0)
        defer { close(listener) }
        // Fills the queue of connections that wait to be accepted; from then on the kernel drops new ones.
        let client = CurlHTTPClient()
        var error: HTTPError?
        for _ in 0..<4 where error?.detail.contains("no connection") != true {
            var deadlines = Self.only(\.connect)
            deadlines.firstByte = 100_000_000
            let filler = HTTPCancellation()
            error = httpError { () throws(HTTPError) in
                try client.exchange(
                    HTTPRequest(.get, origin, "/"), Collector(), deadlines: deadlines, cancellation: filler)
            }
        }
        #expect(error?.code == .timedOut)
    }

    @Test func anotherThreadCancelsWithinATenthOfASecond() throws {
        let server = try ScriptedServer { _ in [.silence] }
        defer { server.stop() }
        let cancellation = HTTPCancellation()
        let clock = HostClock()
        let cancelled = Monitor(UInt64(0))
        let thread = try Thread(name: "cancel") {
            usleep(100_000)
            cancelled.withLock { $0 = clock.monotonicNanoseconds() }
            cancellation.cancel()
        }
        let error = httpError { () throws(HTTPError) in
            try CurlHTTPClient().exchange(
                HTTPRequest(.get, server.origin, "/"), Collector(), deadlines: .generous,
                cancellation: cancellation)
        }
        let end = clock.monotonicNanoseconds()
        thread.join()
        #expect(error?.code == .cancelled)
        #expect(end - cancelled.withLock { $0 } < 100_000_000)
    }

    @Test func whatIsCancelledBeforeIsNotSent() throws {
        let server = try ScriptedServer { _ in [.answer(200)] }
        defer { server.stop() }
        let cancellation = HTTPCancellation()
        cancellation.cancel()
        let error = httpError { () throws(HTTPError) in
            try CurlHTTPClient().exchange(
                HTTPRequest(.get, server.origin, "/"), Collector(), deadlines: .generous,
                cancellation: cancellation)
        }
        #expect(error?.code == .cancelled)
        #expect(server.requests.isEmpty)
    }
}

@Suite struct ExchangeTimerTests {
    let deadlines = HTTPDeadlines(connect: 10, firstByte: 20, stall: 5, total: 100)

    @Test func eachPhaseHasItsDeadline() {
        var timer = ExchangeTimer(deadlines, start: 1000)
        #expect(timer.check(now: 1009) == .wait(until: 1010))
        #expect(timer.check(now: 1010) == .expired(.connect, after: 10))
        timer.connected(isSent: true, now: 1008)
        #expect(timer.check(now: 1027) == .wait(until: 1028))
        #expect(timer.check(now: 1028) == .expired(.firstByte, after: 20))
        timer.headCame(now: 1020)
        #expect(timer.check(now: 1025) == .expired(.stall, after: 5))
        timer.moved(now: 1024)
        #expect(timer.check(now: 1028) == .wait(until: 1029))
    }

    @Test func aBodyThatIsSentCountsAsMoving() {
        var timer = ExchangeTimer(deadlines, start: 0)
        timer.connected(isSent: false, now: 1)
        #expect(timer.check(now: 6) == .expired(.stall, after: 5))
        timer.moved(now: 4)
        #expect(timer.check(now: 6) == .wait(until: 9))
        timer.sent(now: 8)
        #expect(timer.check(now: 20) == .wait(until: 28))
    }

    @Test func theTotalEndsWhatMoves() {
        var timer = ExchangeTimer(deadlines, start: 0)
        timer.headCame(now: 1)
        timer.moved(now: 98)
        #expect(timer.check(now: 99) == .wait(until: 100))
        #expect(timer.check(now: 100) == .expired(.total, after: 100))
    }

    @Test func noDeadlineMeansForEver() {
        var timer = ExchangeTimer(
            HTTPDeadlines(connect: .max, firstByte: .max, stall: .max, total: .max), start: 5)
        timer.headCame(now: 6)
        #expect(timer.check(now: .max - 1) == .wait(until: .max))
    }
}
