import HTTPExchange
import HTTPTestSupport
import Testing

@testable import Transport

@Suite struct KeepAliveTests {
    @Test func oneConnectionServesRequestAfterRequest() throws {
        let server = try ScriptedServer { _ in [.answer(200, [1])] }
        defer { server.stop() }
        let client = CurlHTTPClient()
        for _ in 0..<5 {
            try client.exchange(
                HTTPRequest(.get, server.origin, "/"), Collector(), deadlines: .generous, cancellation: nil)
        }
        #expect(server.accepted == 1)
        #expect(server.requests.count == 5)
    }

    @Test func aConnectionClosedWhileIdleIsReplaced() throws {
        let server = try ScriptedServer { _ in [.answer(200, [1])] }
        defer { server.stop() }
        let client = CurlHTTPClient()
        let get = HTTPRequest(.get, server.origin, "/")
        try client.exchange(get, Collector(), deadlines: .generous, cancellation: nil)
        server.hangUp()
        let collector = Collector()
        try client.exchange(get, collector, deadlines: .generous, cancellation: nil)
        #expect(collector.body == [1])
        #expect(server.accepted == 2)
    }

    /// The server reads the request and hangs up: on a kept connection that may be its idle limit.
    @Test func aKeptConnectionThatDiesBeforeTheFirstByteIsReplacedOnce() throws {
        let server = try ScriptedServer { $0.number == 0 ? [.answer(200, [1])] : [.close] }
        defer { server.stop() }
        let client = CurlHTTPClient()
        let get = HTTPRequest(.get, server.origin, "/")
        for _ in 0..<3 {
            let collector = Collector()
            try client.exchange(get, collector, deadlines: .generous, cancellation: nil)
            #expect(collector.body == [1])
        }
        #expect(server.accepted == 3)
    }

    @Test func aNewConnectionThatDiesIsAFailure() throws {
        let server = try ScriptedServer { _ in [.close] }
        defer { server.stop() }
        let error = httpError { () throws(HTTPError) in
            try CurlHTTPClient().exchange(
                HTTPRequest(.get, server.origin, "/"), Collector(), deadlines: .generous, cancellation: nil)
        }
        #expect(error?.code == .connectionLost)
        #expect(server.requests.count == 1)
    }

    @Test func whatMayNotBeSentTwiceGetsANewConnection() throws {
        let server = try ScriptedServer { $0.number == 0 ? [.answer(200)] : [.close] }
        defer { server.stop() }
        let client = CurlHTTPClient()
        try client.exchange(
            HTTPRequest(.get, server.origin, "/"), Collector(), deadlines: .generous, cancellation: nil)
        try client.exchange(
            HTTPRequest(.post, server.origin, "/"), Collector(), deadlines: .generous, cancellation: nil)
        #expect(server.requests.map(\.method) == ["GET", "POST"])
        #expect(server.accepted == 2)
    }

    @Test func anAnswerThatWasNotReadToItsEndLeavesNoConnectionBehind() throws {
        let server = try ScriptedServer { _ in [.answer(200, [1, 2, 3])] }
        defer { server.stop() }
        let client = CurlHTTPClient()
        let refusing = Collector()
        refusing.headError = HTTPError(.refused, server.origin, "no")
        let get = HTTPRequest(.get, server.origin, "/")
        _ = httpError { () throws(HTTPError) in
            try client.exchange(get, refusing, deadlines: .generous, cancellation: nil)
        }
        let collector = Collector()
        try client.exchange(get, collector, deadlines: .generous, cancellation: nil)
        #expect(collector.body == [1, 2, 3])
        #expect(server.accepted == 2)
    }
}

@Suite struct IdleConnectionsTests {
    let a = HTTPOrigin(isSecure: true, host: "a")
    let b = HTTPOrigin(isSecure: false, host: "a")

    @Test func theLastOneUsedIsTakenFirst() {
        var idle = IdleConnections<Int>(maximum: 10, age: 100)
        #expect(idle.put(1, for: a, now: 0).isEmpty)
        #expect(idle.put(2, for: a, now: 1).isEmpty)
        #expect(idle.take(for: b) == nil)
        #expect([idle.take(for: a), idle.take(for: a), idle.take(for: a)] == [2, 1, nil])
        #expect(idle.count == 0)
    }

    @Test func oldOnesGo() {
        var idle = IdleConnections<Int>(maximum: 10, age: 100)
        _ = idle.put(1, for: a, now: 0)
        _ = idle.put(2, for: a, now: 50)
        _ = idle.put(3, for: b, now: 0)
        #expect(idle.expire(now: 100).isEmpty)
        #expect(Set(idle.expire(now: 101)) == [1, 3])
        #expect(idle.count == 1)
        #expect(idle.take(for: a) == 2)
    }

    @Test func tooManyPushOutTheOldestOfAnyOrigin() {
        var idle = IdleConnections<Int>(maximum: 2, age: 100)
        _ = idle.put(1, for: b, now: 0)
        _ = idle.put(2, for: a, now: 1)
        #expect(idle.put(3, for: a, now: 2) == [1])
        #expect(idle.count == 2)
        var none = IdleConnections<Int>(maximum: 0, age: 100)
        #expect(none.put(1, for: a, now: 0) == [1])
    }
}
