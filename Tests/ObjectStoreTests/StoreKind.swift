import KamlTestSupport
import ObjectStore

/// The stores that must behave alike here; those in S3 are tried by the integration tests.
enum StoreKind: String, CaseIterable, CustomTestStringConvertible {
    case file, memory

    var testDescription: String { rawValue }

    /// Whether of several creators of a key one wins.
    var isAtomic: Bool { true }

    /// A new, empty store; the directory it may live in goes with the returned token.
    func make() throws -> (any ObjectStore, AnyObject) {
        switch self {
        case .file:
            let directory = try TemporaryDirectory()
            return (FileObjectStore(directory.path), directory)
        case .memory:
            let store = MemoryObjectStore()
            return (store, store)
        }
    }
}
