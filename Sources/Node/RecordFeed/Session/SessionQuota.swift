/// How many sessions there may be, in all and for one user.
package struct SessionQuota: Sendable {
    package struct Limits: Sendable {
        package var sessions: Int
        package var sessionsOfUser: Int

        package init(sessions: Int, sessionsOfUser: Int) {
            self.sessions = sessions
            self.sessionsOfUser = sessionsOfUser
        }
    }

    package let limits: Limits
    private var ofUser: [UInt32: Int] = [:]
    package private(set) var count = 0

    package init(_ limits: Limits) { self.limits = limits }

    /// Nil when the session is counted, else why it cannot be.
    package mutating func admit(user: UInt32) -> FeedFailure? {
        guard count < limits.sessions else {
            return FeedFailure(
                .exhausted, "the node has \(count) feed sessions, which is its limit",
                remedy: "Close some, or raise feed.maximumSessions")
        }
        let own = ofUser[user, default: 0]
        guard own < limits.sessionsOfUser else {
            return FeedFailure(
                .exhausted, "user \(user) has \(own) feed sessions, which is the limit",
                remedy: "Close some, or raise feed.maximumSessionsOfUser")
        }
        ofUser[user] = own + 1
        count += 1
        return nil
    }

    package mutating func ended(user: UInt32) {
        guard let own = ofUser[user] else { return }
        ofUser[user] = own > 1 ? own - 1 : nil
        count -= 1
    }
}
