package import FuseSession
package import System

/// What a client asks to be mounted.
package struct MountRequest: Hashable, Sendable {
    /// DATASET[@REF].
    package var reference: String
    /// A store's name in the configuration, or a URL; empty for the default.
    package var store: String
    /// Absolute, without `.`, `..` or empty segments.
    package var mountPoint: ByteString
    package var profile: ProfileChoice = .auto
    /// Nil: as configured.
    package var readAheadKiB: Int?
    package var allowOther: Bool?
    package var allowNonEmpty = false

    package init(reference: String, store: String, mountPoint: ByteString) {
        self.reference = reference
        self.store = store
        self.mountPoint = mountPoint
    }
}

/// What is told of a mount.
package struct MountRecord: Sendable, Hashable {
    package enum State: Sendable, Hashable {
        case mounting, serving, leaving
        /// Kept by the holder, and served by nobody until it can be gone on with: its users wait.
        case stranded
    }

    /// 16 hex digits, made when it was asked for; it stays over the agent's restarts.
    package var id: String
    package var mountPoint: ByteString
    /// As it was asked for.
    package var name: String
    /// The snapshot's id in hex; empty until it is known.
    package var snapshot = ""
    package var store: String
    package var state = State.mounting
    package var profile: MountProfile?
    package var passesThrough = false
    package var since: Timestamp
    package var isTakenOver = false
    /// Why it is stranded.
    package var trouble = ""
    package var files: UInt64 = 0
    package var bytes: UInt64 = 0
}

/// What the world showed once a mount answered.
package struct MountFacts: Sendable, Hashable {
    package var snapshot: String
    package var store: String
    package var profile: MountProfile
    package var passesThrough: Bool
    package var files: UInt64
    package var bytes: UInt64
    package var isTakenOver = false
}
