import HTTPExchange

/// Where a good answer's body goes: called with each piece, which is valid for the call, until it returns false.
@safe struct BodySink {
    private let head: (HTTPResponseHead) -> Bool
    private let body: (UnsafeRawBufferPointer) -> Bool

    /// `head` is told the good head first; where it returns false, no body is wanted.
    @safe init(
        head: @escaping (HTTPResponseHead) -> Bool = { _ in true },
        _ body: @escaping (UnsafeRawBufferPointer) -> Bool
    ) {
        self.head = head
        unsafe self.body = body
    }

    static var none: BodySink { BodySink { _ in true } }

    func begin(_ head: HTTPResponseHead) -> Bool { self.head(head) }

    func take(_ piece: UnsafeRawBufferPointer) -> Bool { unsafe body(piece) }
}
