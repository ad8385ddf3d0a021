package import DatasetStore
package import ObjectStore
package import System

extension ExitStatus {
    init(_ code: StoreError.Code) {
        self =
            switch code {
            case .damaged: .damaged
            case .unsupported: .unsupported
            case .notFound: .notFound
            case .conflict: .conflict
            case .invalidInput: .usage
            case .noSpace: .noSpace
            case .unavailable: .unavailable
            case .permissionDenied: .permissionDenied
            case .sourceChanged, .inputOutput: .failure
            }
    }

    init(_ code: ObjectStoreError.Code) { self.init(StoreError(ObjectStoreError(code, .read, key: "", location: "")).code) }

    init(_ errno: Errno) {
        self =
            switch errno {
            case .noEntry, .notDirectory: .notFound
            case .noSpace, .quotaExceeded: .noSpace
            case .accessDenied, .notPermitted, .readOnlyFileSystem: .permissionDenied
            case .alreadyExists, .busy: .conflict
            case .stale, .notConnected, .timedOut, .hostDown: .unavailable
            default: .failure
            }
    }
}

extension Failure {
    /// Any error that a command can meet. Unknown ones keep their own words.
    package init(_ error: any Error) {
        switch error {
        case let failure as Failure: self = failure
        case let error as StoreError: self.init(error)
        case let error as ObjectStoreError: self.init(error)
        case let error as ObjectStoreURLError: self.init(.usage, "\(error)")
        case let error as Errno: self.init(ExitStatus(error), "\(error)")
        default: self.init(.failure, "\(error)")
        }
    }

    package init(_ error: StoreError) {
        self.init(
            ExitStatus(error.code), error.message, why: error.cause, hint: error.remedy, dataset: error.dataset,
            snapshot: error.snapshot, path: error.path, object: error.object)
    }

    package init(_ error: ObjectStoreError) {
        self.init(StoreError(error))
        object = error.key.isEmpty ? nil : error.key
    }

    /// A failed system call on something that the user named.
    package init(_ doing: String, _ error: Errno, hint: String? = nil) {
        self.init(ExitStatus(error), doing, why: "\(error)", hint: hint)
    }
}
