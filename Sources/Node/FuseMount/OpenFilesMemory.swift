import CKamlSys
import Glibc
package import System

/// The anonymous file that holds a mount's table of open files, so that the table outlives the process that
/// writes it. Sparse: what no open file uses takes no memory.
package enum OpenFilesMemory {
    /// A record of 32 bytes for each of 4 Mi open files, after a page that says what the file is.
    package static let records = 4 << 20
    package static let recordBytes = 32
    package static let headerBytes = 4096
    package static let bytes = headerBytes + records * recordBytes

    /// Makes an empty one, which nobody can shrink or grow: a mapping of it never raises SIGBUS.
    package static func make() throws(Errno) -> FileDescriptor {
        let descriptor = unsafe kaml_sealed_memory("kaml-open-files", UInt64(bytes))
        if descriptor < 0 { throw .last }
        return FileDescriptor(owning: descriptor)
    }

    /// Whether a descriptor is such a file, by its size and seals.
    package static func accepts(_ file: borrowing FileDescriptor) -> Bool {
        guard kaml_has_size_seals(file.rawValue) == 1, let status = try? file.status() else { return false }
        return status.size == UInt64(bytes)
    }
}
