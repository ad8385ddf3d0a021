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

    /// `count` bytes of a file; fewer at its end.
    func bytes(
        of file: borrowing FileDescriptor, at offset: Int, count: Int
    ) throws(Errno) -> [UInt8] {
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 8)
        defer { unsafe memory.deallocate() }
        let found = try unsafe read(file, into: memory, at: UInt64(offset))
        return unsafe Array(memory[..<found])
    }
}
