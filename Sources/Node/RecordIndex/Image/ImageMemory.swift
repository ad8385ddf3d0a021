import Glibc
import System

/// The bytes of an index: a mapped file, or memory of its own.
@safe final class ImageMemory: @unchecked Sendable {
    // Sendable: nobody writes to the bytes any more.
    let bytes: UnsafeRawBufferPointer
    private let region: MappedRegion?

    /// Longest file that is mapped.
    private static let mostBytes = 1 << 40

    init(_ bytes: [UInt8]) {
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 8)
        unsafe copy.copyBytes(from: bytes)
        unsafe self.bytes = UnsafeRawBufferPointer(copy)
        region = nil
    }

    /// Maps a file and brings its pages in, so that a failing disk is an error here and not a signal later.
    init(_ file: borrowing FileDescriptor) throws(Errno) {
        let status = try file.status()
        guard status.kind == .regular, status.size <= UInt64(Self.mostBytes) else { throw .invalid }
        let region = try MappedRegion(file, length: Int(status.size))
        // MADV_POPULATE_READ is 22; kernels before 5.14 do not know it (EINVAL).
        if unsafe madvise(UnsafeMutableRawPointer(mutating: region.bytes.baseAddress), region.bytes.count, 22)
            != 0
        {
            let error = Errno.last
            guard error == .invalid else { throw error }
        }
        unsafe bytes = unsafe region.bytes
        self.region = consume region
    }

    deinit { if region == nil { unsafe bytes.deallocate() } }
}
