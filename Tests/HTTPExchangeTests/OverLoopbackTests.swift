import HTTPExchange
import HTTPTestSupport
import KamlTestSupport
import Synchronization
import System
import Testing
import Transport

/// The whole way, from the resilient client over libcurl to a server that does it wrong at first: right bytes, and the
/// caller sees nothing of it.
@Suite struct OverLoopbackTests {
    static let object = SeededRandom(seed: 8).bytes(300_000)
    static let range: Range<UInt64> = 1000..<201_000

    struct Fault: Sendable, CustomTestStringConvertible {
        var testDescription: String
        /// What the first requests get.
        var steps: @Sendable (ScriptedServer.Request) -> [ScriptedServer.Step]
        var times = 2
    }

    static func head(_ range: Range<Int>, length: Int? = nil) -> String {
        "HTTP/1.1 206 Partial Content\r\nETag: \"a\"\r\nContent-Length: \(length ?? range.count)\r\n"
            + "Content-Range: bytes \(range.lowerBound)-\(range.upperBound - 1)/\(object.count)\r\n\r\n"
    }

    static func broken(_ request: ScriptedServer.Request, after count: Int, _ end: ScriptedServer.Step)
        -> [ScriptedServer.Step]
    {
        guard let range = request.range else { return [.close] }
        return [.text(head(range)), .send(Array(object[range].prefix(count))), end]
    }

    static let faults = [
        Fault(testDescription: "hangs up", steps: { _ in [.close] }),
        Fault(testDescription: "resets", steps: { _ in [.reset] }),
        Fault(testDescription: "resets in the body", steps: { broken($0, after: 70_000, .reset) }),
        Fault(testDescription: "hangs up in the body", steps: { broken($0, after: 70_000, .close) }),
        Fault(testDescription: "500", steps: { _ in [.answer(500)] }),
        Fault(
            testDescription: "503",
            steps: { _ in [.answer(503, Array("<Error><Code>SlowDown</Code></Error>".utf8))] }),
        Fault(testDescription: "200 and HTML", steps: { _ in [.answer(200, Array("<html>".utf8))] }),
        Fault(testDescription: "an empty 200", steps: { _ in [.answer(200)] }),
        Fault(testDescription: "204", steps: { _ in [.text("HTTP/1.1 204 No Content\r\n\r\n")] }),
        Fault(testDescription: "all instead of a part", steps: { _ in [.answer(200, object)] }),
        Fault(testDescription: "another part", steps: { _ in [.part(0..<200_000, of: object)] }),
        Fault(
            testDescription: "a shorter part, cleanly",
            steps: { request in
                guard let range = request.range else { return [.close] }
                return [.text(head(range, length: 10)), .send(Array(object[range].prefix(10)))]
            }),
        Fault(testDescription: "no HTTP", steps: { _ in [.text("SSH-2.0-OpenSSH\r\n"), .close] }),
        Fault(
            testDescription: "a stall in the body", steps: { broken($0, after: 70_000, .silence) }, times: 1),
    ]

    @Test(arguments: faults)
    func theBytesComeRight(_ fault: Fault) throws {
        let left = Mutex(fault.times)
        let server = try ScriptedServer { request in
            let isFaulty = left.withLock { left in
                left -= 1
                return left >= 0
            }
            if isFaulty { return fault.steps(request) }
            guard let range = request.range else { return [.answer(400)] }
            return [.part(range, of: Self.object, fields: ["ETag: \"a\""])]
        }
        defer { server.stop() }
        let client = ResilientHTTPClient(
            CurlHTTPClient(), policy: ResiliencePolicy(backoffBase: 1_000_000, backoffCap: 10_000_000))
        let collector = Collector()
        var deadlines = HTTPDeadlines.generous
        deadlines.stall = 300_000_000
        try client.exchange(
            HTTPRequest(.get, server.origin, "/object", range: Self.range), collector, deadlines: deadlines,
            cancellation: nil)
        #expect(collector.body == Array(Self.object[1000..<201_000]))
        #expect(collector.heads.count == 1)
        #expect(client.statistics.retries + client.statistics.resumed == UInt64(fault.times))
    }

    @Test func manyThreadsOverAFlakyServerGetTheirBytes() throws {
        let count = Mutex(0)
        let server = try ScriptedServer { request in
            let number = count.withLock { count in
                count += 1
                return count
            }
            guard let range = request.range else { return [.answer(400)] }
            return switch number % 10 {
            case 3: [.reset]
            case 6: Self.broken(request, after: range.count / 2, .close)
            case 9: [.answer(500)]
            default: [.part(range, of: Self.object, fields: ["ETag: \"a\""])]
            }
        }
        defer { server.stop() }
        let client = ResilientHTTPClient(
            CurlHTTPClient(), policy: ResiliencePolicy(backoffBase: 1_000_000, backoffCap: 10_000_000))
        try inParallel(8) { thread in
            for turn in 0..<25 {
                let start = (thread * 31_000 + turn * 9_001) % 200_000
                let collector = Collector()
                try client.exchange(
                    HTTPRequest(.get, server.origin, "/", range: UInt64(start)..<UInt64(start + 50_000)),
                    collector,
                    deadlines: .generous, cancellation: nil)
                guard collector.body == Array(Self.object[start..<start + 50_000]) else {
                    Issue.record("thread \(thread) got other bytes")
                    return
                }
            }
        }
        #expect(client.statistics.requests == 200)
        #expect(client.statistics.failures == 0)
    }
}
