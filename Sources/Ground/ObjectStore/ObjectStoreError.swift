package import System

/// Why an object store did not do what it was asked to.
package struct ObjectStoreError: Error, Hashable, Sendable {
    package enum Code: String, Hashable, Sendable {
        /// No object has this key.
        case notFound
        /// The object ends before the range that was asked for.
        case truncated
        /// The object is larger than the limit of the call.
        case tooLarge
        /// Something that is not an object stands at the key.
        case alreadyExists
        /// The store is full, or the user's quota is.
        case noSpace
        case permissionDenied
        /// The store cannot be reached now. For a write the outcome is open: it may have been done.
        case unavailable
        /// The store returned bytes that cannot be what was written.
        case corrupt
        /// A source's object is no longer the one that was imported.
        case changed
        case invalidKey
        /// The disk or the network failed in the middle.
        case inputOutput
        /// The store lacks something that correctness needs.
        case notSupported
    }

    package enum Operation: String, Hashable, Sendable {
        case name, open, size, read, create, write, publish, list, delete
    }

    package var code: Code
    package var operation: Operation
    /// The key as text, since it may be one that is not valid; empty when the error is about the whole store.
    package var key: String
    /// The store, as `ObjectStore.location`.
    package var location: String
    package var cause: Errno?
    /// What else is known, for people.
    package var detail: String
    /// What to do, where the store knows better than the code tells; no semicolon in it.
    package var advice: String?

    package init(
        _ code: Code, _ operation: Operation, key: String, location: String, cause: Errno? = nil,
        detail: String = "", advice: String? = nil
    ) {
        self.code = code
        self.operation = operation
        self.key = key
        self.location = location
        self.cause = cause
        self.detail = detail
        self.advice = advice
    }

    /// Whether the same call may succeed later with nobody having changed anything.
    package var retryable: Bool { code == .unavailable }
}

extension ObjectStoreError: CustomStringConvertible {
    /// What failed, why, and what to do about it.
    package var description: String {
        var text =
            "cannot \(operation.rawValue) \(key.isEmpty ? "objects" : "object \(key)") in \(location): \(reason)"
        if !detail.isEmpty { text += " (\(detail))" }
        if let cause { text += " [\(cause)]" }
        return text + "; " + (advice ?? remedy)
    }

    private var reason: String {
        switch code {
        case .notFound: "it is not there"
        case .truncated: "it is shorter than it must be"
        case .tooLarge: "it is larger than this kind of object may be"
        case .alreadyExists: "something else has this name"
        case .noSpace: "the store is full"
        case .permissionDenied: "permission denied"
        case .unavailable: "the store cannot be reached"
        case .corrupt: "it is damaged"
        case .changed: "it is no longer what was imported"
        case .invalidKey: "this is not a valid key"
        case .inputOutput: "input/output error"
        case .notSupported: "the store cannot do this"
        }
    }

    private var remedy: String {
        switch code {
        case .notFound, .truncated, .tooLarge, .corrupt:
            "run `kaml check` to learn what is affected, and restore the object from a copy of the store"
        case .changed: "import again with `kaml import` to take it as it is now"
        case .alreadyExists: "move the foreign file out of the store"
        case .noSpace: "free space or raise the quota, then run the command again"
        case .permissionDenied: "check the owner and the mode of the store, and as whom this process runs"
        case .unavailable: "check that the store is mounted or reachable, then try again"
        case .invalidKey: "keys are made of a-z 0-9 . _ - and /, at most \(ObjectKey.maximumBytes) bytes"
        case .inputOutput: "look at the kernel log and the health of the disk, then try again"
        case .notSupported: "keep the store on a file system with hard links, such as ext4, XFS or NFS"
        }
    }
}

extension ObjectStoreError.Code {
    /// The code for an errno of a file operation, other than ENOENT, whose meaning depends on the operation.
    package init(_ errno: Errno) {
        switch errno {
        case .noEntry: self = .notFound
        case .noSpace, .quotaExceeded: self = .noSpace
        case .accessDenied, .notPermitted, .readOnlyFileSystem: self = .permissionDenied
        case .stale, .notConnected, .noDevice, .wouldBlock, .busy, .timedOut, .hostDown, .tooManyOpenFiles,
            .tooManyOpenFilesInSystem:
            self = .unavailable
        case .isDirectory, .notDirectory, .alreadyExists: self = .alreadyExists
        case .notSupported, .noSystemCall, .invalid: self = .notSupported
        default: self = .inputOutput
        }
    }
}
