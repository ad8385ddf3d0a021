import System

/// Runs what blocks on threads of its own, and lets a task wait for it. The cooperative pool has one thread a core: two
/// calls that hang in a store would be the end of every service.
package final class BlockingWork: Sendable {
    private let running = Monitor(0)
    private let limit: Int

    /// At most `limit` at one time: more than that means that all of them hang.
    package init(limit: Int = 64) { self.limit = limit }

    /// - Throws: `AgentError.overloaded`, or what `body` throws.
    package func run<Result: Sendable>(
        _ body: @escaping @Sendable () throws -> Result
    ) async throws -> Result {
        let isFree = running.withLock { running in
            guard running < limit else { return false }
            running += 1
            return true
        }
        guard isFree else { throw AgentError.overloaded(limit) }
        return try await withCheckedThrowingContinuation { continuation in
            do throws(Errno) {
                try Thread(name: "kaml-work") { [running] in
                    let outcome = Swift.Result { try body() }
                    running.withLock { $0 -= 1 }
                    continuation.resume(with: outcome)
                }
                .detach()
            } catch {
                running.withLock { $0 -= 1 }
                continuation.resume(throwing: error)
            }
        }
    }
}
