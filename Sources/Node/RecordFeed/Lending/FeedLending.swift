import CKamlSys
import Glibc
import NodeCache
import Synchronization
package import System

/// Whether this agent can lend its cache's files, and by which copy of the tree. Asked for once.
package final class FeedLending: Sendable {
    package enum Refusal: Error, CustomStringConvertible {
        case no(String)
        package var description: String {
            switch self { case .no(let reason): reason }
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

/// A detached read-only copy of the mount that a directory lies on.
package enum ReadOnlyTree {
    /// Needs CAP_SYS_ADMIN: `notPermitted` without.
    package static func make(of directory: ByteString) throws(Errno) -> FileDescriptor {
        let opened = try FileDescriptor.open(directory, O_RDONLY | O_DIRECTORY)
        return try make(of: opened)
    }

    package static func make(of directory: borrowing FileDescriptor) throws(Errno) -> FileDescriptor {
        let tree = kaml_read_only_tree(directory.rawValue)
        if tree < 0 { throw .last }
        return FileDescriptor(owning: tree)
    }
}
