import System

/// How much memory all sessions of the node may have in slabs.
package final class SlabBudget: Sendable {
    package let limit: Int
    private let used = Monitor(0)

    package init(limit: Int) { self.limit = limit }

    package var usedBytes: Int { used.withLock { $0 } }

    /// False when there is not so much left.
    package func take(_ bytes: Int) -> Bool {
        used.withLock { used in
            guard bytes <= limit - used else { return false }
            used += bytes
            return true
        }
    }

    package func giveBack(_ bytes: Int) { used.withLock { $0 -= bytes } }
}
