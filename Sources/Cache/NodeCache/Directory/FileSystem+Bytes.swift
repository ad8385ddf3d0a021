import System

extension FileSystem {
    /// Writes all of an array at an offset.
    func write(_ file: borrowing FileDescriptor, _ bytes: [UInt8], at offset: Int) throws(Errno) {
        // A noncopyable parameter cannot be captured, so the array's pointer comes out here.
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 8)
        defer { unsafe copy.deallocate() }
        unsafe copy.copyBytes(from: bytes)
        try unsafe write(file, UnsafeRawBufferPointer(copy), at: UInt64(offset))
    }
}
