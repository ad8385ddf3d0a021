import System

/// What the operator chooses about feeds.
package struct FeedOptions: Sendable {
    package var sessions = SessionQuota.Limits(sessions: 256, sessionsOfUser: 64)
    /// Bytes of slabs: of one session, and of all.
    package var sessionMemory = 512 << 20
    package var memory = 4 << 30
    /// Name and version, for Welcome.
    package var agent = "kamld"

    package init() {}
}
