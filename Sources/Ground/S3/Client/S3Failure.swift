import HTTPExchange

/// Why a request to S3 failed.
enum S3Failure: Error {
    case credentials(CredentialError)
    /// No answer, or one that is none.
    case http(HTTPError)
    /// The server said no.
    case refused(S3Refusal)
    /// The server said yes in words that make no sense.
    case malformed(String)

    /// The status of a refusal.
    var status: Int? {
        switch self {
        case .refused(let refusal): refusal.status
        case .http(let error) where error.code == .refused: error.status
        default: nil
        }
    }

    var code: String? {
        if case .refused(let refusal) = self { refusal.code } else { nil }
    }

    /// Whether the request may have been done although nobody said so.
    var leavesOutcomeOpen: Bool {
        switch self {
        case .credentials: false
        case .http(let error):
            ![.unusable, .cannotResolve, .untrusted].contains(error.code)
        case .refused(let refusal): refusal.status >= 500 && refusal.status != 501 || refusal.status == 408
        case .malformed: true
        }
    }

    /// Whether an answer that had begun did not come to its end.
    var isBrokenOff: Bool {
        if case .http(let error) = self {
            [.connectionLost, .timedOut, .malformed].contains(error.code)
        } else {
            false
        }
    }

    /// Whether the server is away, so that nothing can be learned from it now.
    var isAway: Bool {
        if case .http(let error) = self {
            [.cannotConnect, .cannotResolve].contains(error.code)
        } else {
            false
        }
    }
}

/// A server's no.
struct S3Refusal: Hashable {
    /// What may make a second try succeed.
    enum Cure: Hashable {
        case serverTime
        case newCredentials
    }

    var status: Int
    /// S3's word, such as `NoSuchKey`; nil where the answer had none, as those to HEAD.
    var code: String?
    var message: String
    var region: String?
    var endpoint: String?
    /// The server's time.
    var date: String?
    /// Where the credentials came from that it was asked with; nil for none.
    var credentials: String?

    init(_ head: HTTPResponseHead, body: [UInt8], credentials: String?) {
        self.init(head, ErrorAnswer(body), credentials: credentials)
    }

    /// An error that came with 200, since the status was sent before the work was done.
    init(late answer: ErrorAnswer) {
        self.init(
            HTTPResponseHead(status: Self.status(of: answer.code), fields: []), answer, credentials: nil)
    }

    /// The status that S3 sends with a code where it still can.
    private static func status(of code: String) -> Int {
        switch code {
        case "ServiceUnavailable", "SlowDown": 503
        case "ConditionalRequestConflict", "OperationAborted": 409
        case "PreconditionFailed": 412
        case "NoSuchUpload", "NoSuchBucket": 404
        case "AccessDenied": 403
        case "EntityTooLarge", "EntityTooSmall", "InvalidPart", "InvalidPartOrder", "MalformedXML": 400
        case "NotImplemented": 501
        case "InsufficientStorage": 507
        // InternalError, and what leaves it open whether it was done.
        default: 500
        }
    }

    private init(_ head: HTTPResponseHead, _ answer: ErrorAnswer?, credentials: String?) {
        status = head.status
        code = answer?.code
        message = answer?.message ?? ""
        region = (head["x-amz-bucket-region"].map { ShownText.of($0.utf8) } ?? answer?.region)
            .flatMap { S3Location.isRegionName($0) ? $0 : nil }
        endpoint = answer?.endpoint
        date = head["date"]
        self.credentials = credentials
    }

    /// Whether the same request may succeed a moment later.
    var passesByItself: Bool { status == 500 && code == "InternalError" || status == 503 }

    var cures: [Cure] {
        switch code {
        case "RequestTimeTooSkewed", "RequestExpired": [.serverTime]
        case "ExpiredToken", "ExpiredTokenException", "InvalidAccessKeyId", "InvalidToken",
            "TokenRefreshRequired", "InvalidClientTokenId":
            [.newCredentials]
        case "SignatureDoesNotMatch", "AccessDenied": []
        // A refused HEAD does not say why.
        case nil where status == 403 || status == 400 || status == 401: [.serverTime, .newCredentials]
        default: []
        }
    }

    /// For people: `403 AccessDenied, "Access Denied"`.
    var words: String {
        var text = "the server answered \(status)"
        if let code { text += " \(code)" }
        if !message.isEmpty { text += ", \"\(message)\"" }
        return text
    }
}
