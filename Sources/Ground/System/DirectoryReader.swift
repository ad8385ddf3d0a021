import CKamlSys
import Glibc

/// One name in a directory. `type` is the `DT_` constant, `DT_UNKNOWN` where the file system does not say.
package struct DirectoryEntry: Sendable, Hashable {
    package var name: ByteString
    package var inode: UInt64
    package var type: UInt8
}

/// Reads directories with getdents64(2): no `DIR` stream, names as bytes.
package enum DirectoryReader {
    /// All names but `.` and `..`, in the file system's order. Reads from where the descriptor stands.
    package static func entries(of directory: borrowing FileDescriptor) throws(Errno) -> [DirectoryEntry] {
        var entries: [DirectoryEntry] = []
        let capacity = 64 << 10
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: capacity, alignment: 8)
        defer { unsafe buffer.deallocate() }
        let descriptor = directory.rawValue
        while true {
            let filled = try retryingOnInterrupt {
                unsafe kaml_getdents64(descriptor, buffer.baseAddress, capacity)
            }
            if filled == 0 { return entries }
            unsafe parse(UnsafeRawBufferPointer(rebasing: buffer[..<filled]), into: &entries)
        }
    }

    /// struct linux_dirent64: u64 inode, i64 offset, u16 record length, u8 type, name with NUL.
    private static func parse(_ records: UnsafeRawBufferPointer, into entries: inout [DirectoryEntry]) {
        var position = 0
        while position + 19 < records.count {
            let length = unsafe Int(records.loadUnaligned(fromByteOffset: position + 16, as: UInt16.self))
            guard length > 19, position + length <= records.count else { return }
            let field = unsafe UnsafeRawBufferPointer(
                rebasing: records[(position + 19)..<(position + length)])
            let name = unsafe field.prefix { $0 != 0 }
            let isDot = unsafe name.elementsEqual(".".utf8) || name.elementsEqual("..".utf8)
            if !isDot {
                unsafe entries.append(
                    DirectoryEntry(
                        name: ByteString(Array(name)),
                        inode: records.loadUnaligned(fromByteOffset: position, as: UInt64.self),
                        type: records[position + 18]))
            }
            position += length
        }
    }
}
