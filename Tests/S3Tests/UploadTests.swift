import HTTPExchange
import KamlTestSupport
import ObjectStore
import Synchronization
import System
import Testing

@testable import S3

@Suite("An upload in parts")
struct UploadTests {
    private func store(_ client: any HTTPClient) throws -> S3ObjectStore {
        S3ObjectStore(
            try FakeS3().place(),
            S3Service(
                client, region: "us-east-1", settings: S3Settings(), environment: FakeS3.environment))
    }

    @Test("cancels every part that is on its way when it is given up")
    func cancellation() throws {
        let client = Watched(FakeS3(), holdsParts: true)
        let writer = try store(client).makeWriter(key("big"))
        try writer.append([UInt8](repeating: 1, count: 3 * S3ObjectWriter.partBytes + 1))
        client.waitForParts(3)
        writer.abandon()
        #expect(client.cancelled == 3)
    }

    @Test("gives the server time to put the parts together")
    func completion() throws {
        let client = Watched(FakeS3(), holdsParts: false)
        let writer = try store(client).makeWriter(key("big"))
        try writer.append([UInt8](repeating: 1, count: S3ObjectWriter.partBytes + 1))
        #expect(try writer.publish() == .created)
        #expect(client.completion?.firstByte ?? 0 >= 300_000_000_000)
    }
}

/// Notes what uploads do; on demand their parts last until they are cancelled.
private final class Watched: HTTPClient {
    private struct State {
        var parts = 0
        var cancelled = 0
        var completion: HTTPDeadlines?
    }

    private let server: FakeS3
    private let holdsParts: Bool
    private let state = Monitor(State())

    init(_ server: FakeS3, holdsParts: Bool) {
        self.server = server
        self.holdsParts = holdsParts
    }

    var cancelled: Int { state.withLock { $0.cancelled } }
    var completion: HTTPDeadlines? { state.withLock { $0.completion } }

    func waitForParts(_ count: Int) { state.wait { $0.parts == count ? () : nil } }

    func exchange(
        _ request: HTTPRequest, _ receiver: any HTTPReceiver, deadlines: HTTPDeadlines,
        cancellation: HTTPCancellation?
    ) throws(HTTPError) -> HTTPResponseHead {
        if holdsParts, request.target.contains("partNumber=") {
            let parker = Parker()
            cancellation?.arm { parker.unpark() }
            defer { cancellation?.disarm() }
            state.withLock { $0.parts += 1 }
            state.wake()
            // Long enough to be told from a cancellation, on a busy machine, too.
            if parker.park(nanoseconds: 5_000_000_000) { state.withLock { $0.cancelled += 1 } }
            throw HTTPError(.cancelled, request.origin, "held")
        }
        if request.method == .post, request.target.contains("?uploadId=") {
            state.withLock { $0.completion = deadlines }
        }
        return try server.exchange(request, receiver, deadlines: deadlines, cancellation: cancellation)
    }
}
