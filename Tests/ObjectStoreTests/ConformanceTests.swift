import KamlTestSupport
import ObjectStore
import Testing

/// The stores on this machine that must behave alike. Buckets run the same checks in their own suites.
enum StoreKind: String, CaseIterable, CustomTestStringConvertible {
    case file, memory

    var testDescription: String { rawValue }

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

@Suite("Every object store")
struct ConformanceTests {
    @Test(arguments: StoreKind.allCases, ObjectStoreConformance.checks)
    func promise(kind: StoreKind, check: ObjectStoreConformance.Check) throws {
        let (store, token) = try kind.make()
        defer { withExtendedLifetime(token) {} }
        try check.run(store)
    }
}
