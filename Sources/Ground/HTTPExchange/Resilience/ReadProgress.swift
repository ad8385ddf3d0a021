/// How far the answer to one request has come, over all attempts: what the next attempt asks for, and whether its
/// answer goes on where the last one broke off.
struct ReadProgress {
    private let request: HTTPRequest
    /// The first head, which the receiver has been told.
    private(set) var head: HTTPResponseHead?
    /// Bytes of the body that the receiver has.
    private(set) var received: UInt64 = 0
    /// What the whole answer covers, and the tag of the object; nil where nobody can go on in the middle.
    private var resumable: (range: Range<UInt64>, tag: String)?

    init(_ request: HTTPRequest) { self.request = request }

    enum Next {
        case send(HTTPRequest)
        /// All bytes came before the connection broke.
        case done
        /// The receiver has a part, and there is no way to ask for the rest.
        case cannotGoOn
    }

    var next: Next {
        guard head != nil else { return .send(request) }
        guard let resumable else { return .cannotGoOn }
        let rest = resumable.range.lowerBound + received..<resumable.range.upperBound
        if rest.isEmpty { return .done }
        var request = request
        request.range = rest
        if !request.fields.contains(where: { $0.name == "if-match" }) {
            request.fields.append(HTTPField("if-match", resumable.tag))
        }
        return .send(request)
    }

    /// Whether a later attempt could go on in the middle.
    var isResumable: Bool { resumable != nil }

    /// The head of a new attempt's answer. Whether the receiver is to be told it: later ones only go on. Throws where
    /// the answer is of another object than the first, or a refusal, which keeps its status: it may be of the credentials,
    /// and says nothing of the object.
    mutating func accept(_ head: HTTPResponseHead) throws(HTTPError) -> Bool {
        guard self.head != nil else {
            self.head = head
            resumable = Self.resumable(request, head)
            return true
        }
        if head.status >= 300, head.status != 412 {
            throw HTTPError(
                .refused, request.origin, "the server answered \(head.status) in the middle of the body",
                status: head.status)
        }
        guard head.status == 206, let resumable, head["etag"] == resumable.tag else {
            throw HTTPError(
                .refused, request.origin, "the object changed while it was read", status: 412)
        }
        return false
    }

    mutating func took(_ bytes: Int) { received += UInt64(bytes) }

    private static func resumable(
        _ request: HTTPRequest, _ head: HTTPResponseHead
    ) -> (range: Range<UInt64>, tag: String)? {
        // A weak tag does not promise the same bytes (RFC 9110, 13.1.1).
        guard request.method == .get, let tag = head["etag"], tag.hasPrefix("\"") else { return nil }
        if head.status == 206, let range = request.range { return (range, tag) }
        guard head.status == 200,
            let length = head["content-length"].flatMap({ HTTPContentRange.decimal($0) }),
            length > 0
        else { return nil }
        return (0..<length, tag)
    }
}
