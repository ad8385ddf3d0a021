package import HTTPExchange
import System

/// What the buckets of one endpoint and region share: the client, the credentials and the server's time.
package final class S3Service: Sendable {
    /// Signs what it sends.
    private let client: any HTTPClient
    package let signer: RequestSigner
    /// Nil when requests go out unsigned.
    package let credentials: CredentialStore?

    /// `settings` are complete. `client` also asks the credential services, which get no signature. `wrap` puts what
    /// repeats requests between, and signs each attempt with the signer it is given; by default each is sent once.
    package init(
        _ client: any HTTPClient, region: String, settings: S3Settings, environment: S3Environment,
        wrap: (any HTTPClient, RequestSigner) -> any HTTPClient = { SigningHTTPClient($0, $1) }
    ) {
        if settings.isAnonymous {
            credentials = nil
        } else {
            let chain = CredentialChain.standard(
                settings, environment, ServiceCaller(client: client), region: region)
            credentials = CredentialStore(chain, clock: environment.clock)
        }
        signer = RequestSigner(region: region, credentials: credentials, clock: environment.clock)
        self.client = wrap(client, signer)
    }

    /// Sends a request and hands a good answer's body to `sink`. What can be mended by new credentials or by the server's
    /// clock is mended, once; also in the middle of a body. Returns the head of a good answer.
    @discardableResult
    func send(
        _ request: HTTPRequest, _ sink: BodySink = .none, deadlines: HTTPDeadlines = .standard,
        cancellation: HTTPCancellation? = nil
    ) throws(S3Failure) -> HTTPResponseHead {
        var mended: Set<S3Refusal.Cure> = []
        var read = PartialRead(request)
        while true {
            let used = try currentCredentials()
            let receiver = S3Receiver(sink, read)
            let head: HTTPResponseHead
            do throws(HTTPError) {
                head = try client.exchange(
                    read.request, receiver, deadlines: deadlines, cancellation: cancellation)
            } catch {
                // A refusal in the middle has no words: the rest is asked for by itself, to hear them.
                guard error.code == .refused, let status = error.status, (300..<500).contains(status),
                    status != 412, let rest = receiver.read.rest
                else { throw .http(error) }
                read = rest
                mended = []
                continue
            }
            if (200..<300).contains(head.status) { return receiver.read.head ?? head }
            let refusal = S3Refusal(head, body: receiver.refusalBody, credentials: used?.origin)
            var isMended = false
            for cure in refusal.cures where !isMended && mended.insert(cure).inserted {
                switch cure {
                case .serverTime: isMended = signer.correctClock(refusal.date)
                case .newCredentials:
                    isMended =
                        try used.map { used throws(S3Failure) in
                            try replace(used, isCertain: refusal.code != nil)
                        } ?? false
                }
            }
            guard isMended else { throw .refused(refusal) }
        }
    }

    private func currentCredentials() throws(S3Failure) -> S3Credentials? {
        guard let credentials else { return nil }
        do throws(CredentialError) { return try credentials.current() } catch { throw .credentials(error) }
    }

    private func replace(_ used: S3Credentials, isCertain: Bool) throws(S3Failure) -> Bool {
        do throws(CredentialError) {
            return try credentials?.replace(used, isCertain: isCertain) ?? false
        } catch {
            throw .credentials(error)
        }
    }
}

/// Signs each request once, on its way to another client.
package final class SigningHTTPClient: HTTPClient {
    private let client: any HTTPClient
    private let signer: RequestSigner

    package init(_ client: any HTTPClient, _ signer: RequestSigner) {
        self.client = client
        self.signer = signer
    }

    package func exchange(
        _ request: HTTPRequest, _ receiver: any HTTPReceiver, deadlines: HTTPDeadlines,
        cancellation: HTTPCancellation?
    ) throws(HTTPError) -> HTTPResponseHead {
        try client.exchange(
            try signer.prepare(request), receiver, deadlines: deadlines, cancellation: cancellation)
    }
}

/// Passes a good answer's body on and keeps that of a refusal.
private final class S3Receiver: HTTPReceiver {
    private static let maximumRefusalBytes = 64 << 10

    private let sink: BodySink
    private(set) var read: PartialRead
    private var isGood = false
    private var isWanted = false
    private(set) var refusalBody: [UInt8] = []

    init(_ sink: BodySink, _ read: PartialRead) {
        self.sink = sink
        self.read = read
    }

    func receive(_ head: HTTPResponseHead) throws(HTTPError) {
        isGood = (200..<300).contains(head.status)
        refusalBody = []
        guard isGood else { return }
        guard try read.begins(head) else {
            isWanted = true
            return
        }
        isWanted = sink.begin(head)
    }

    func receive(_ bytes: UnsafeRawBufferPointer) throws(HTTPError) -> Bool {
        if isGood {
            guard isWanted else { return false }
            read.received += UInt64(bytes.count)
            return unsafe sink.take(bytes)
        }
        unsafe refusalBody.append(contentsOf: bytes.prefix(Self.maximumRefusalBytes - refusalBody.count))
        return refusalBody.count < Self.maximumRefusalBytes
    }
}
