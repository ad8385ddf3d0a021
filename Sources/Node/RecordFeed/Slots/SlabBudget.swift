import System

/// How much memory a session, or all sessions of the node, may have in slabs.
package final class SlabBudget: Sendable {
    package let limit: Int
    private let parent: SlabBudget?
    private let used = Monitor(0)

    /// What is taken here counts for `parent` too.
    package init(limit: Int, of parent: SlabBudget? = nil) {
        self.limit = limit
        self.parent = parent
    }

    package var usedBytes: Int { used.withLock { $0 } }

    /// False when there is not so much left.
    package func take(_ bytes: Int) -> Bool {
        let isFree = used.withLock { used in
            guard bytes <= limit - used else { return false }
            used += bytes
            return true
        }
        guard isFree else { return false }
        if parent?.take(bytes) ?? true { return true }
        used.withLock { $0 -= bytes }
        return false
    }

    package func giveBack(_ bytes: Int) {
        used.withLock { $0 -= bytes }
        parent?.giveBack(bytes)
    }
}
