import ObjectStore
import S3
import Stores
import Testing

/// The servers over which a bucket must behave as every store does.
enum StoreKind: String, CaseIterable, CustomTestStringConvertible {
    case rgw, swift, moto

    var testDescription: String { "S3 of \(rawValue)" }

    /// Swift's s3api refuses conditional writes, and moto has no lock between its check and its write.
    var isAtomic: Bool { self == .rgw }

    private var server: S3Server.Kind {
        switch self {
        case .rgw: .rgw
        case .swift: .swift
        case .moto: .moto
        }
    }

    /// A new, empty prefix of the server's bucket.
    func make() throws -> (any ObjectStore, AnyObject) {
        let server = try S3Server.shared(server)
        let variables = server.environment()
        let opener = StoreOpener(StoreSettings(), environment: S3Environment { variables[$0] })
        let store = try opener.open(try ObjectStoreURL("s3://\(server.bucket)/\(server.newPrefix())"))
        return (store, server)
    }
}

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
