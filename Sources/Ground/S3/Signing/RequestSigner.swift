package import HTTPExchange
import Synchronization
import System

/// Signs requests with the credentials and the time of the moment: once for each attempt, since both move on.
package final class RequestSigner: Sendable {
    private let signature: SigV4
    private let credentials: CredentialStore?
    private let clock: any Clock
    /// What the server's clock is ahead of this machine's, in seconds.
    private let skew = Atomic<Int64>(0)
    private let key = Mutex<SigningKey?>(nil)

    private struct SigningKey {
        var secret: Secret
        var date: String
        var bytes: [UInt8]
    }

    /// `credentials` is nil for requests that go out unsigned.
    init(region: String, credentials: CredentialStore?, clock: any Clock) {
        signature = SigV4(region: region)
        self.credentials = credentials
        self.clock = clock
    }

    /// The request with the fields that authorize it. A hook for clients that send a request several times.
    @Sendable package func prepare(_ request: HTTPRequest) throws(HTTPError) -> HTTPRequest {
        guard let credentials else { return request }
        do throws(CredentialError) { return sign(request, try credentials.current()) } catch {
            throw HTTPError(error.isTemporary ? .cannotConnect : .unusable, request.origin, "\(error)")
        }
    }

    func sign(_ request: HTTPRequest, _ credentials: S3Credentials) -> HTTPRequest {
        let own: Set = ["authorization", "x-amz-date", "x-amz-security-token"]
        let time = CivilTime(secondsSinceEpoch: clock.now().seconds + skew.load(ordering: .relaxed))
        var fields = request.fields.filter { !own.contains($0.name) }
        let payloadHash = request["x-amz-content-sha256"] ?? Self.payloadHash(request.body)
        if request["x-amz-content-sha256"] == nil {
            fields.append(HTTPField("x-amz-content-sha256", payloadHash))
        }
        fields.append(HTTPField("x-amz-date", time.basic))
        if let token = credentials.sessionToken {
            fields.append(HTTPField("x-amz-security-token", token.revealed { $0 }))
        }
        var signed = fields + [HTTPField("host", request.origin.hostHeader)]
        if let range = request.rangeValue { signed.append(HTTPField("range", range)) }
        let authorization = signature.authorization(
            request.method, target: request.target, fields: signed, payloadHash: payloadHash, time: time,
            accessKey: credentials.accessKey, signingKey: signingKey(credentials.secretKey, time.basicDate))
        var request = request
        request.fields = fields + [HTTPField("authorization", authorization)]
        return request
    }

    static func payloadHash(_ body: HTTPBody) -> String {
        switch body {
        case .none: SHA256.emptyHex
        case .bytes(let bytes): SHA256.hex(bytes)
        case .borrowed(let bytes): unsafe SHA256.hex(bytes)
        }
    }

    /// Takes the server's time, as an answer's `date` tells it. False when that changes nothing: then the clock was not
    /// what the server minded.
    func correctClock(_ date: String?) -> Bool {
        guard let date, let server = CivilTime.parseHTTP(date) else { return false }
        let skew = server.secondsSinceEpoch - clock.now().seconds
        let before = self.skew.exchange(skew, ordering: .relaxed)
        return abs(skew - before) > 60
    }

    private func signingKey(_ secret: Secret, _ date: String) -> [UInt8] {
        key.withLock { key in
            if let known = key, known.date == date, known.secret == secret { return known.bytes }
            let bytes = signature.signingKey(secret, date: date)
            key = SigningKey(secret: secret, date: date, bytes: bytes)
            return bytes
        }
    }
}

extension HTTPRequest {
    /// The first field of this name, which is given in lower case.
    subscript(_ name: String) -> String? { fields.first { $0.name == name }?.value }
}
