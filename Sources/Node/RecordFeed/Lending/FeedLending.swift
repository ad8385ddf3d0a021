import NodeCache
import Synchronization
import System

/// Whether this agent can lend its cache's files, and by which copy of the tree. Asked for once.
package final class FeedLending: Sendable {
    package enum Refusal: Error, CustomStringConvertible {
        case no(String)
        package var description: String {
            switch self {
            case .no(let reason): reason
            }
        }
    }

    private let make: @Sendable () -> Result<ContainerFiles, Refusal>
    private let known = Mutex<Result<ContainerFiles, Refusal>?>(nil)

    /// `make` may block, and is called again until it has succeeded.
    package init(_ make: @escaping @Sendable () -> Result<ContainerFiles, Refusal>) { self.make = make }

    var files: Result<ContainerFiles, Refusal> {
        if case .success(let files)? = known.withLock({ $0 }) { return .success(files) }
        let made = make()
        known.withLock { $0 = made }
        return made
    }
}
