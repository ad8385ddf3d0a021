import HTTPExchange
import KamlTestSupport
import ObjectStore
import Synchronization
import System
import Testing

@testable import S3

/// Over a client that repeats, hedges and goes on in the middle, as in a process.
@Suite("A store behind a bad network")
struct ResilientTests {
    private func store(
        _ client: any HTTPClient, _ environment: S3Environment = FakeS3.environment
    ) throws -> S3ObjectStore {
        let policy = ResiliencePolicy(
            patience: 2_000_000_000, firstPatience: 2_000_000_000, backoffBase: 1_000_000,
            backoffCap: 5_000_000)
        let service = S3Service(
            client, region: "us-east-1", settings: S3Settings(), environment: environment,
            wrap: {
                ResilientHTTPClient(
                    $0, policy: policy, prepare: $1.prepare, evaluate: S3Verdict.evaluate)
            })
        return S3ObjectStore(try FakeS3().place(), service)
    }

    @Test("renews credentials that expire in the middle of a body, and reads on", arguments: [true, false])
    func expiry(isRange: Bool) throws {
        let turn = Atomic(0)
        let environment = S3Environment(variables: { name in
            switch name {
            case "AWS_ACCESS_KEY_ID": "KEY\(turn.load(ordering: .relaxed))"
            case "AWS_SECRET_ACCESS_KEY": "secret"
            default: nil
            }
        })
        let server = FakeS3 { request, number in
            guard request["authorization"]?.contains("KEY0") == true else { return nil }
            if number == 1 { return .cuts(40) }
            turn.store(1, ordering: .relaxed)
            return .answers(400, body: "<Error><Code>ExpiredToken</Code></Error>")
        }
        server.place("a b/x", Array(0..<100))
        let store = try store(server, environment)
        if isRange {
            #expect(try store.read(key("x"), from: 10, count: 80) == Array(10..<90))
        } else {
            #expect(try store.readAll(key("x"), limit: 100) == Array(0..<100))
        }
        #expect(server.log.last?.range?.lowerBound == (isRange ? 50 : 40))
    }

    @Test(
        "tells a refusal in the middle of a body by its own name",
        arguments: [
            (404, "NoSuchKey", .notFound), (403, "AccessDenied", .permissionDenied),
            (412, "PreconditionFailed", .changed), (416, "InvalidRange", .truncated),
        ] as [(Int, String, ObjectStoreError.Code)])
    func refusal(status: Int, code: String, expected: ObjectStoreError.Code) throws {
        let server = FakeS3 { request, number in
            number == 1 ? .cuts(40) : .answers(status, body: "<Error><Code>\(code)</Code></Error>")
        }
        server.place("a b/x", Array(0..<100))
        let store = try store(server)
        expect(expected) { _ = try store.read(key("x"), from: 0, count: 100) }
    }

    @Test("never goes on with another object's bytes after a refusal in the middle")
    func otherObject() throws {
        let server = FakeS3 { request, number in
            switch number {
            case 1: .cuts(40)
            case 2: .answers(403, body: "<Error><Code>AccessDenied</Code></Error>")
            default:
                .answers(
                    206, body: String(repeating: "x", count: 60),
                    fields: [HTTPField("etag", "\"other\""), HTTPField("content-range", "bytes 40-99/100")])
            }
        }
        server.place("a b/x", Array(0..<100))
        let store = try store(server)
        expect(.changed) { _ = try store.read(key("x"), from: 0, count: 100) }
    }

    @Test(
        "says with what words a server went on refusing, and that it may pass",
        arguments: [(400, "BadDigest"), (400, "SlowDown"), (503, "SlowDown"), (500, "InternalError")])
    func lastingTrouble(status: Int, code: String) throws {
        let server = FakeS3 { _, _ in .answers(status, body: "<Error><Code>\(code)</Code></Error>") }
        let store = try store(server)
        let error = #expect(throws: ObjectStoreError.self) { try store.readAll(key("x"), limit: 1) }
        #expect(error?.code == .unavailable)
        #expect(error?.description.contains("\(status) \(code)") == true, "\(String(describing: error))")
        #expect(server.log.count > 1)
    }

    @Test("says at once that a store is full")
    func full() throws {
        let server = FakeS3 { request, _ in request.method == .put ? .answers(507) : nil }
        let store = try store(server)
        expect(.noSpace) { _ = try store.createIfAbsent(key("x"), [1]) }
        #expect(server.log.count { $0.method == .put } == 1)
    }

    @Test("ends a streaming read although the loser of its hedge goes on")
    func slowLoser() throws {
        let server = FakeS3()
        server.place("a b/x", Array(0..<100))
        let client = Stubborn(server)
        let store = try store(client)
        for _ in 0..<100 { _ = try store.read(key("x"), from: 0, count: 10) }
        client.hold()
        var bytes: [UInt8] = []
        // The closure does not escape: the process traps where anybody still holds it.
        try store.read(key("x"), 0..<100) { piece throws(ObjectStoreError) in
            bytes.append(contentsOf: piece)
            return true
        }
        #expect(bytes == Array(0..<100))
        #expect(client.isRunning)
        client.release()
    }
}

/// Once held: the next exchange lasts until the one after it runs, which in turn is held, whatever is done to cancel it.
private final class Stubborn: HTTPClient {
    private enum State { case passing, held, firstRuns, secondRuns, released, over }

    private let server: FakeS3
    private let state = Monitor(State.passing)

    init(_ server: FakeS3) { self.server = server }

    var isRunning: Bool { state.withLock { $0 == .secondRuns } }

    func hold() { state.withLock { $0 = .held } }

    /// Lets the held one go, and waits for its end.
    func release() {
        state.withLock { $0 = .released }
        state.wake()
        state.wait { $0 == .over ? () : nil }
    }

    func exchange(
        _ request: HTTPRequest, _ receiver: any HTTPReceiver, deadlines: HTTPDeadlines,
        cancellation: HTTPCancellation?
    ) throws(HTTPError) -> HTTPResponseHead {
        let turn = state.withLock { state in
            if state == .held { state = .firstRuns } else if state == .firstRuns { state = .secondRuns }
            return state
        }
        state.wake()
        if turn == .firstRuns { state.wait { $0 == .secondRuns ? () : nil } }
        if turn == .secondRuns { state.wait { $0 == .released ? () : nil } }
        defer {
            if turn == .secondRuns {
                state.withLock { $0 = .over }
                state.wake()
            }
        }
        return try server.exchange(request, receiver, deadlines: deadlines, cancellation: cancellation)
    }
}
