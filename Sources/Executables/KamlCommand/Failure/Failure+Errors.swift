package import DatasetStore
package import FuseSession
package import NodeCache
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

    init(_ code: ObjectStoreError.Code) {
        self.init(StoreError(ObjectStoreError(code, .read, key: "", location: "")).code)
    }

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
        case let error as SnapshotReferenceError: self.init(error)
        case let error as RecordLogError: self.init(error)
        case let error as LogConflict: self.init(error)
        case let error as MountError: self.init(error)
        case let error as CacheError: self.init(error)
        case let error as ObjectStoreError: self.init(error)
        case let error as ObjectStoreURLError: self.init(.usage, "\(error)")
        case let error as Errno: self.init(ExitStatus(error), "\(error)")
        default: self.init(.failure, "\(error)")
        }
    }

    package init(_ error: StoreError) {
        // Errors from below end in what to do, after a semicolon.
        let (what, why, hint) =
            error.remedy == nil ? Self.split(error.message) : (error.message, nil, error.remedy)
        self.init(
            ExitStatus(error.code), what, why: error.cause ?? why, hint: hint.map(Self.lowered),
            dataset: error.dataset,
            snapshot: error.snapshot, path: error.path, object: error.object)
    }

    /// A remedy is a sentence, a hint follows a colon. A word in capitals, such as an acronym, stays.
    private static func lowered(_ sentence: String) -> String {
        guard let first = sentence.first, sentence.dropFirst().first?.isLowercase == true else {
            return sentence
        }
        return first.lowercased() + sentence.dropFirst()
    }

    /// An error of opening the store that a user named: the place may simply be wrong.
    package init(opening error: StoreError) {
        self.init(error)
        if error.code == .unavailable {
            hint = "check the path, and that its disk is mounted; `kaml store init` makes a new store"
        }
    }

    package init(_ error: MountError) {
        let status: ExitStatus =
            switch error.cause {
            case .missing, .notMounted: .notFound
            case .notDirectory, .notEmpty, .alreadyMounted, .busy: .conflict
            case .dead, .unresponsive: .unavailable
            case .deviceMissing, .helperMissing: .unsupported
            case .deviceNotPermitted, .otherUsersNotAllowed: .permissionDenied
            case .helperFailed: .failure
            case .systemCall(_, let errno): ExitStatus(errno)
            }
        // The description is "where: what; advice".
        let sentence = String(error.description.dropLast(error.advice.count + 2))
        self.init(status, sentence, hint: error.advice)
    }

    package init(_ error: CacheError) {
        let status: ExitStatus =
            switch error.code {
            case .inUse: .conflict
            case .unusable, .inputOutput, .exhausted, .closed: .failure
            case .unsupported: .unsupported
            case .damaged: .damaged
            case .notFound: .notFound
            case .unavailable: .unavailable
            case .permissionDenied: .permissionDenied
            }
        self.init(status, error.message, why: error.cause, hint: error.remedy, object: error.object)
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
