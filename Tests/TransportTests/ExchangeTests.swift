import HTTPExchange
import HTTPTestSupport
import KamlTestSupport
import System
import Testing

@testable import Transport

@Suite struct ExchangeTests {
    let client = CurlHTTPClient()

    @Test func sendsWhatTheRequestSaysAndNothingElse() throws {
        let server = try ScriptedServer { _ in [.answer(200)] }
        defer { server.stop() }
        let request = HTTPRequest(
            .put, server.origin, "/b/a%2Fb/../c//d%C3%A4?x=1&y",
            fields: [HTTPField("x-amz-acl", "private"), HTTPField("x-empty", "")],
            body: .bytes([1, 2, 3]))
        try client.exchange(request, Collector(), deadlines: .generous, cancellation: nil)
        let seen = try #require(server.requests.first)
        #expect(seen.method == "PUT")
        #expect(seen.target == "/b/a%2Fb/../c//d%C3%A4?x=1&y")
        #expect(seen.body == [1, 2, 3])
        #expect(
            Set(seen.fields) == [
                HTTPField("host", server.origin.hostHeader), HTTPField("x-amz-acl", "private"),
                HTTPField("x-empty", ""), HTTPField("content-length", "3"),
            ])
    }

    @Test(arguments: [
        "/a?", "/?", "//x", "/a%20b?list-type=2&prefix=%2F..%2F", "/.", "/..", "/a/./b", "/a%2e%2e/b",
        "/a?b?c", "/a'b\"c<>|\\^`{}",
    ])
    func targetsGoOutByteForByte(_ target: String) throws {
        let server = try ScriptedServer { _ in [.answer(200)] }
        defer { server.stop() }
        try client.exchange(
            HTTPRequest(.get, server.origin, target), Collector(), deadlines: .generous, cancellation: nil)
        #expect(server.requests.map(\.target) == [target])
    }

    @Test func methodsAreSentAsNamed() throws {
        let server = try ScriptedServer { _ in [.answer(200)] }
        defer { server.stop() }
        for method in [HTTPMethod.get, .put, .post, .delete] {
            try client.exchange(
                HTTPRequest(method, server.origin, "/"), Collector(), deadlines: .generous, cancellation: nil)
        }
        #expect(server.requests.map(\.method) == ["GET", "PUT", "POST", "DELETE"])
        #expect(server.requests.map { $0["content-length"] } == [nil, "0", "0", nil])
    }

    @Test func headHasNoBody() throws {
        let server = try ScriptedServer { _ in [.text("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")] }
        defer { server.stop() }
        for _ in 0..<2 {
            let collector = Collector()
            let head = try client.exchange(
                HTTPRequest(.head, server.origin, "/"), collector, deadlines: .generous, cancellation: nil)
            #expect(head["content-length"] == "1000")
            #expect(collector.body.isEmpty)
        }
        #expect(server.accepted == 1)
    }

    @Test func largeBodiesGoBothWays() throws {
        let bytes = someBytes(seed: 7, 3 << 20)
        let server = try ScriptedServer { [.answer(200, $0.body)] }
        defer { server.stop() }
        let collector = Collector()
        try bytes.withUnsafeBytes { bytes in
            _ = try client.exchange(
                HTTPRequest(.put, server.origin, "/", body: .borrowed(bytes)), collector,
                deadlines: .generous,
                cancellation: nil)
        }
        #expect(collector.body == bytes)
    }

    @Test func chunkedBodiesAndInterimHeadsAreRead() throws {
        let server = try ScriptedServer { _ in
            [
                .text(
                    "HTTP/1.1 100 Continue\r\nX-Interim: 1\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                ),
                .text("3\r\nabc\r\n2\r\nde\r\n0\r\nX-Trailer: 1\r\n\r\n"),
            ]
        }
        defer { server.stop() }
        let collector = Collector()
        try client.exchange(
            HTTPRequest(.get, server.origin, "/"), collector, deadlines: .generous, cancellation: nil)
        #expect(
            collector.heads == [
                HTTPResponseHead(status: 200, fields: [HTTPField("transfer-encoding", "chunked")])
            ])
        #expect(collector.body == Array("abcde".utf8))
    }

    @Test func rangesAreAskedForAndAnswered() throws {
        let whole = someBytes(seed: 1, 100_000)
        let server = try ScriptedServer { [.part($0.range ?? 0..<1, of: whole)] }
        defer { server.stop() }
        let collector = Collector()
        try client.exchange(
            HTTPRequest(.get, server.origin, "/", range: 10..<70_000), collector, deadlines: .generous,
            cancellation: nil)
        #expect(server.requests.first?["range"] == "bytes=10-69999")
        #expect(collector.body == Array(whole[10..<70_000]))
    }

    @Test func redirectsAreAnswers() throws {
        let server = try ScriptedServer { _ in [.answer(302, fields: ["Location: /elsewhere"])] }
        defer { server.stop() }
        let collector = Collector()
        try client.exchange(
            HTTPRequest(.get, server.origin, "/", range: 0..<5), collector, deadlines: .generous,
            cancellation: nil)
        #expect(collector.heads.map(\.status) == [302])
        #expect(server.requests.count == 1)
    }

    @Test func theReceiversErrorsComeThrough() throws {
        let server = try ScriptedServer { _ in [.answer(200, [1, 2, 3])] }
        defer { server.stop() }
        let refusal = HTTPError(.refused, server.origin, "not this", status: 200)
        let atHead = Collector()
        atHead.headError = refusal
        let atBody = Collector()
        atBody.bodyError = refusal
        for collector in [atHead, atBody] {
            let error = httpError { () throws(HTTPError) in
                try client.exchange(
                    HTTPRequest(.get, server.origin, "/"), collector, deadlines: .generous, cancellation: nil)
            }
            #expect(error == refusal)
            #expect(collector.body.isEmpty)
        }
    }

    @Test func aReceiverThatHasEnoughEndsTheExchange() throws {
        let server = try ScriptedServer { _ in
            [.text("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345"), .silence]
        }
        defer { server.stop() }
        let collector = Collector()
        collector.enough = 5
        let head = try client.exchange(
            HTTPRequest(.get, server.origin, "/"), collector, deadlines: .generous, cancellation: nil)
        #expect(head.status == 200)
        #expect(collector.body == Array("12345".utf8))
    }

    @Test func requestsThatCannotBeSentAreRefusedBefore() throws {
        let server = try ScriptedServer { _ in [.answer(200)] }
        defer { server.stop() }
        let origin = server.origin
        let requests = [
            HTTPRequest(.get, origin, "/a b"), HTTPRequest(.get, origin, "a"),
            HTTPRequest(.get, origin, "/a\r\nX: y"),
            HTTPRequest(.get, origin, "/a#b"), HTTPRequest(.get, origin, "/ä"),
            HTTPRequest(.get, origin, "/", fields: [HTTPField("x", "secret\r\nHost: other")]),
            HTTPRequest(.get, origin, "/", fields: [HTTPField("x y", "1")]),
            HTTPRequest(.get, origin, "/", fields: [HTTPField("range", "bytes=0-1")]),
            HTTPRequest(.get, origin, "/", range: 5..<5), HTTPRequest(.put, origin, "/", range: 0..<5),
            HTTPRequest(.get, HTTPOrigin(isSecure: false, host: "a@b", port: 1), "/"),
        ]
        for request in requests {
            let error = httpError { () throws(HTTPError) in
                try client.exchange(request, Collector(), deadlines: .generous, cancellation: nil)
            }
            #expect(error?.code == .unusable)
            #expect(error?.detail.contains("secret") == false)
        }
        #expect(server.accepted == 0)
    }

    @Test func noDeadlineMeansForEver() throws {
        let server = try ScriptedServer { _ in [.answer(200)] }
        defer { server.stop() }
        let head = try client.exchange(
            HTTPRequest(.get, server.origin, "/"), Collector(),
            deadlines: HTTPDeadlines(connect: .max, firstByte: .max, stall: .max, total: .max),
            cancellation: nil)
        #expect(head.status == 200)
    }

    @Test func aNameThatCannotBeResolvedIsSaidToBe() {
        // Two dots in a row: refused without asking anybody.
        let error = httpError { () throws(HTTPError) in
            try client.exchange(
                HTTPRequest(.get, HTTPOrigin(isSecure: false, host: "a..b"), "/"), Collector(),
                deadlines: .generous,
                cancellation: nil)
        }
        #expect(error?.code == .cannotResolve)
    }

    @Test func descriptionsHoldNoSecrets() {
        let request = HTTPRequest(
            .get, HTTPOrigin(isSecure: true, host: "h"), "/path?x-amz-signature=canary",
            fields: [HTTPField("authorization", "canary")], body: .bytes(Array("canary".utf8)))
        let options = TransportOptions(proxy: .url("http://user:canary@proxy"))
        var dumped = ""
        dump(request, to: &dumped)
        dump(options, to: &dumped)
        dumped += "\(request) \(String(reflecting: request)) \(options) \(String(reflecting: options))"
        #expect(!dumped.contains("canary"))
        #expect("\(request)" == "GET https://h/path")
    }

    @Test func manyThreadsAtOnceGetTheirOwnAnswers() throws {
        let whole = someBytes(seed: 2, 1 << 20)
        let server = try ScriptedServer { [.part($0.range ?? 0..<1, of: whole)] }
        defer { server.stop() }
        let client = client
        try inParallel(16) { thread in
            for turn in 0..<20 {
                let start = (thread * 37_000 + turn * 20_011) % 900_000
                let collector = Collector()
                try client.exchange(
                    HTTPRequest(.get, server.origin, "/", range: UInt64(start)..<UInt64(start + 60_000)),
                    collector,
                    deadlines: .generous, cancellation: nil)
                guard collector.body == Array(whole[start..<start + 60_000]) else {
                    Issue.record("thread \(thread) got another's bytes")
                    return
                }
            }
        }
        #expect(server.accepted <= 16)
        #expect(server.requests.count == 320)
    }
}

func someBytes(seed: UInt64, _ count: Int) -> [UInt8] {
    SeededRandom(seed: seed).bytes(count)
}
