import Synchronization
import System

/// Runs `body` on `count` threads of their own and throws the first error of any. Not on the cooperative
/// pool: what the stores do blocks.
package func inParallel(_ count: Int, _ body: @escaping @Sendable (Int) throws -> Void) throws {
    let running = Monitor((left: count, failure: (any Error)?.none))
    for index in 0..<count {
        let thread = try Thread(name: "test-\(index)") {
            let outcome = Result { try body(index) }
            running.withLock { state in
                state.left -= 1
                if case .failure(let error) = outcome, state.failure == nil { state.failure = error }
            }
            running.wake()
        }
        thread.detach()
    }
    let failure = running.wait { state -> (any Error)?? in state.left == 0 ? .some(state.failure) : nil }
    if let failure { throw failure }
}
