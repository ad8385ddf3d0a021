import ObjectStore
import Testing

/// A key that the test knows to be one.
func key(_ text: String) -> ObjectKey {
    guard let key = ObjectKey(text) else { preconditionFailure("\(text) is no key") }
    return key
}

/// Expects an error with this code, and that it says what to do.
func expect(
    _ code: ObjectStoreError.Code, sourceLocation: SourceLocation = #_sourceLocation,
    _ body: () throws(ObjectStoreError) -> Void
) {
    do throws(ObjectStoreError) {
        try body()
        Issue.record("expected \(code), but nothing was thrown", sourceLocation: sourceLocation)
    } catch {
        #expect(error.code == code, "\(error)", sourceLocation: sourceLocation)
        #expect(error.description.contains("; "), sourceLocation: sourceLocation)
    }
}
