import CKamlSys
import Glibc

/// A detached read-only copy of the mount that a directory lies on: what is opened below it cannot be opened again for
/// writing, by nobody, also not by way of /proc/self/fd.
package enum ReadOnlyTree {
    /// Needs CAP_SYS_ADMIN: `notPermitted` without.
    package static func make(of directory: ByteString) throws(Errno) -> FileDescriptor {
        try make(of: try FileDescriptor.open(directory, O_RDONLY | O_DIRECTORY))
    }

    package static func make(of directory: borrowing FileDescriptor) throws(Errno) -> FileDescriptor {
        let tree = kaml_read_only_tree(directory.rawValue)
        if tree < 0 { throw .last }
        return FileDescriptor(owning: tree)
    }
}
