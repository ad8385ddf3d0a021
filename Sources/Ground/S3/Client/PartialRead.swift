import HTTPExchange

/// How far a body has come, over several requests for it: what is left to ask for after a refusal in the middle.
struct PartialRead {
    private(set) var request: HTTPRequest
    /// The first good head, which the caller gets.
    private(set) var head: HTTPResponseHead?
    /// Bytes of the last request's body.
    var received: UInt64 = 0
    private var tag: String?
    private var whole: Range<UInt64>?

    init(_ request: HTTPRequest) { self.request = request }

    /// A good head came. Whether it is the first one; throws where a later one is of another object.
    mutating func begins(_ head: HTTPResponseHead) throws(HTTPError) -> Bool {
        guard self.head == nil else {
            guard head["etag"] == tag else {
                throw HTTPError(
                    .refused, request.origin, "the object changed while it was read", status: 412)
            }
            return false
        }
        self.head = head
        tag = head["etag"]
        whole = request.range
        if whole == nil, head.status == 200, let size = try? S3Bucket.size(head) { whole = 0..<size }
        return true
    }

    /// The request for the rest. Nil where nothing came yet, or nobody can go on in the middle.
    var rest: PartialRead? {
        // A weak tag does not promise the same bytes (RFC 9110, 13.1.1).
        guard request.method == .get, received > 0, let whole, received < whole.upperBound - whole.lowerBound,
            let tag, tag.hasPrefix("\"")
        else { return nil }
        var next = self
        let range = whole.lowerBound + received..<whole.upperBound
        next.whole = range
        next.request.range = range
        next.received = 0
        if next.request["if-match"] == nil { next.request.fields.append(HTTPField("if-match", tag)) }
        return next
    }
}
