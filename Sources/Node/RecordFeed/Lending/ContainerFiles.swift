import Glibc
import NodeCache
package import System

/// Opens the files of complete containers so that whoever gets the descriptor can open them again for reading only:
/// below a detached read-only copy of the mount that the cache's directory lies on.
package final class ContainerFiles: Sendable {
    private let tree: FileDescriptor

    /// `tree`: such a copy of the cache's directory (`ReadOnlyTree`).
    package init(tree: consuming FileDescriptor) { self.tree = tree }

    /// The container stays awake and is not evicted until `takeBack`.
    ///
    /// - Throws: `CacheError` when the container cannot be lent (something is missing, it is encrypted), `Errno` when its
    ///   file cannot be opened.
    func open(_ container: Container) throws -> FileDescriptor {
        let own = try container.lend()
        do throws(Errno) {
            let file = try FileDescriptor.open(
                container.relativePath, in: tree.rawValue, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
            var status = stat()
            guard unsafe fstat(own, &status) == 0 else { throw .last }
            let found = try file.status()
            // What is promised is that file, not one of its name.
            guard found.inode == status.st_ino, found.device == status.st_dev else { throw .stale }
            return file
        } catch {
            container.takeBack()
            throw error
        }
    }
}
