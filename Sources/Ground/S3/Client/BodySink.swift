/// Where a good answer's body goes: called with each piece, which is valid for the call, until it returns false.
@safe struct BodySink {
    private let body: (UnsafeRawBufferPointer) -> Bool

    @safe init(_ body: @escaping (UnsafeRawBufferPointer) -> Bool) { unsafe self.body = body }

    static var none: BodySink { BodySink { _ in true } }

    func take(_ piece: UnsafeRawBufferPointer) -> Bool { unsafe body(piece) }
}
