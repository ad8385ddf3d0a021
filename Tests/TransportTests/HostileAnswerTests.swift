import HTTPExchange
import HTTPTestSupport
import Testing

@testable import Transport

/// Whatever a server sends: an error that says so, or the right bytes.
@Suite struct HostileAnswerTests {
    struct Answer: Sendable, CustomTestStringConvertible {
        var name: String
        var steps: [ScriptedServer.Step]
        var code: HTTPError.Code
        var range: Range<UInt64>?
        var testDescription: String { name }

        init(
            _ name: String, _ text: String, _ code: HTTPError.Code, range: Range<UInt64>? = nil,
            then last: ScriptedServer.Step = .close
        ) {
            self.name = name
            self.steps = [.text(text), last]
            self.code = code
            self.range = range
        }
    }

    static let ok = "HTTP/1.1 200 OK\r\n"
    static let part = "HTTP/1.1 206 Partial Content\r\n"

    static let answers: [Answer] = [
        Answer("nothing", "", .connectionLost),
        Answer("no HTTP", "SSH-2.0-OpenSSH_9.2\r\n", .malformed),
        Answer("HTTP/0.9", "<html>hello</html>", .malformed),
        Answer("a status that is none", "HTTP/1.1 999999 OK\r\n\r\n", .malformed),
        Answer("a status of letters", "HTTP/1.1 abc OK\r\n\r\n", .malformed),
        Answer("an unasked protocol", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n", .malformed),
        Answer("a head cut off", "HTTP/1.1 200 OK\r\nContent-Le", .connectionLost),
        Answer("a length of 2^64+1", ok + "Content-Length: 18446744073709551617\r\n\r\nabc", .malformed),
        Answer("a length of 2^63", ok + "Content-Length: 9223372036854775808\r\n\r\nabc", .malformed),
        Answer("a negative length", ok + "Content-Length: -1\r\n\r\nabc", .malformed),
        Answer("a length with a sign", ok + "Content-Length: +3\r\n\r\nabc", .malformed),
        Answer("a length of letters", ok + "Content-Length: three\r\n\r\nabc", .malformed),
        Answer("two lengths", ok + "Content-Length: 3\r\nContent-Length: 5\r\n\r\nabc", .malformed),
        Answer(
            "a length and chunks",
            ok + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            .malformed),
        Answer("an unknown transfer encoding", ok + "Transfer-Encoding: gzip\r\n\r\nabc", .malformed),
        Answer(
            "a chunk too long to count",
            ok + "Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFFFFF\r\nabc", .malformed),
        Answer("a chunk of nonsense", ok + "Transfer-Encoding: chunked\r\n\r\nzz\r\nabc", .malformed),
        Answer("chunks cut off", ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nab", .connectionLost),
        Answer("a body cut off", ok + "Content-Length: 5\r\n\r\nab", .connectionLost),
        Answer("a reset in the body", ok + "Content-Length: 5\r\n\r\nab", .connectionLost, then: .reset),
        Answer(
            "100000 fields", ok + String(repeating: "X: y\r\n", count: 100_000) + "\r\n", .malformed),
        Answer("129 fields", ok + String(repeating: "X: y\r\n", count: 129) + "\r\n", .malformed),
        Answer(
            "a field of 1 MB", ok + "X: " + String(repeating: "y", count: 1 << 20) + "\r\n\r\n", .malformed),
        Answer(
            "a field of 70 kB", ok + "X: " + String(repeating: "y", count: 70_000) + "\r\n\r\n", .malformed),
        Answer(
            "interim heads for ever",
            String(repeating: "HTTP/1.1 102 Processing\r\nX: y\r\n\r\n", count: 10_000),
            .malformed),
        Answer(
            "trailers for ever",
            ok + "Transfer-Encoding: chunked\r\n\r\n0\r\n" + String(repeating: "X: y\r\n", count: 100_000)
                + "\r\n",
            .malformed),
        Answer("a line that is no field", ok + "no colon here\r\n\r\n", .malformed),
        Answer("a folded field", ok + "X: y\r\n z\r\n\r\n", .malformed),
        Answer("200 for a range", ok + "Content-Length: 3\r\n\r\nabc", .unexpected, range: 0..<3),
        Answer(
            "HTML for a range", ok + "Content-Type: text/html\r\nContent-Length: 3\r\n\r\n<p>", .unexpected,
            range: 0..<3),
        Answer(
            "another range", part + "Content-Range: bytes 1-3/9\r\nContent-Length: 3\r\n\r\nabc", .unexpected,
            range: 0..<3),
        Answer(
            "a shorter range", part + "Content-Range: bytes 0-1/2\r\nContent-Length: 2\r\n\r\nab",
            .unexpected,
            range: 0..<3),
        Answer(
            "a range that lies about its length",
            part + "Content-Range: bytes 0-2/9\r\nContent-Length: 2\r\n\r\nab",
            .unexpected, range: 0..<3),
        Answer("a range unsaid", part + "Content-Length: 3\r\n\r\nabc", .unexpected, range: 0..<3),
        Answer(
            "a range with no length, cut off", part + "Content-Range: bytes 0-2/9\r\n\r\nab", .connectionLost,
            range: 0..<3),
        Answer(
            "a range with no length, too long", part + "Content-Range: bytes 0-2/9\r\n\r\nabcdef",
            .unexpected, range: 0..<3),
        Answer(
            "a part where all was asked for",
            part + "Content-Range: bytes 0-2/9\r\nContent-Length: 3\r\n\r\nabc", .unexpected),
    ]

    @Test(arguments: answers)
    func endsInAnErrorThatSaysSo(_ answer: Answer) throws {
        let server = try ScriptedServer { _ in answer.steps }
        defer { server.stop() }
        let client = CurlHTTPClient()
        let error = httpError { () throws(HTTPError) in
            try client.exchange(
                HTTPRequest(.get, server.origin, "/", range: answer.range), Collector(), deadlines: .generous,
                cancellation: nil)
        }
        #expect(error?.code == answer.code, "\(error.map { "\($0.code) \($0)" } ?? "no error")")
    }

    @Test func bytesBehindAnAnswerAreNotTheNextOne() throws {
        let server = try ScriptedServer { request in
            request.connection == 0
                ? [.text(Self.ok + "Content-Length: 1\r\n\r\nAHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nX")]
                : [.answer(200, Array("B".utf8))]
        }
        defer { server.stop() }
        let client = CurlHTTPClient()
        var bodies: [[UInt8]] = []
        for _ in 0..<2 {
            let collector = Collector()
            try client.exchange(
                HTTPRequest(.get, server.origin, "/"), collector, deadlines: .generous, cancellation: nil)
            bodies.append(collector.body)
        }
        #expect(bodies == [Array("A".utf8), Array("B".utf8)])
    }
}

@Suite struct ResponseHeadReaderTests {
    func read(_ lines: [String]) throws(ResponseHeadReader.Malformed) -> HTTPResponseHead? {
        var reader = ResponseHeadReader()
        for line in lines {
            let progress = try Array((line + "\r\n").utf8).withUnsafeBytes { line in
                Result { () throws(ResponseHeadReader.Malformed) in try reader.read(line) }
            }.get()
            if case .complete(let head) = progress { return head }
        }
        return nil
    }

    @Test func namesAreLowerCaseAndValuesTrimmed() throws {
        let head = try read(["HTTP/1.1 200 ", "ETag: \t\"a: b\" ", "X-Empty:", ""])
        #expect(
            head
                == HTTPResponseHead(
                    status: 200, fields: [HTTPField("etag", "\"a: b\""), HTTPField("x-empty", "")]))
    }

    @Test func bytesThatAreNoUTF8AreKeptOutNotTrappedOn() throws {
        var reader = ResponseHeadReader()
        let line: [UInt8] = Array("HTTP/1.1 200 ".utf8) + [0xFF, 0xFE, 13, 10]
        _ = try line.withUnsafeBytes { try reader.read($0) }
    }

    @Test func theHeadIsReadAtItsEndOnly() throws {
        #expect(try read(["HTTP/1.1 404 Not Found", "X: y"]) == nil)
        #expect(try read(["HTTP/1.0 404", "X: y", ""])?.status == 404)
    }
}
