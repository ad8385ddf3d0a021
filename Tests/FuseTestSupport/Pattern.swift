/// Bytes that can be told wrong without anything to compare with: each word says which file it is of, and where.
package enum Pattern {
    /// The eight bytes at a multiple of eight.
    @inline(__always)
    package static func word(_ file: Int, _ offset: Int) -> UInt64 {
        (UInt64(file) << 40 ^ UInt64(offset)) &* 0x9E37_79B9_7F4A_7C15
    }

    /// The first offset at which `bytes`, which lie at `offset` in the file, are wrong.
    package static func firstWrong(_ bytes: UnsafeRawBufferPointer, _ file: Int, at offset: Int) -> Int? {
        precondition(offset % 8 == 0)
        for index in 0..<(bytes.count / 8)
        where bytes.loadUnaligned(fromByteOffset: index * 8, as: UInt64.self)
            != word(file, offset + index * 8)
        {
            return offset + index * 8
        }
        return nil
    }

    package static func bytes(_ file: Int, count: Int) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        bytes.withUnsafeMutableBytes { buffer in
            for index in 0..<(count / 8) {
                buffer.storeBytes(of: word(file, index * 8), toByteOffset: index * 8, as: UInt64.self)
            }
        }
        return bytes
    }
}

/// The tree that is served while its server is killed. Large files are even numbers passed through, where that is
/// possible, and odd ones not; small files lie in directories.
package enum LoadedTree {
    package static let largeFiles = 4
    package static let largeBytes = 8 << 20
    package static let directories = 8
    package static let smallFiles = 25
    package static let smallBytes = 16 << 10

    package static func large(_ number: Int) -> String { "large\(number)" }
    package static func small(_ directory: Int, _ number: Int) -> String { "dir\(directory)/small\(number)" }
    package static func smallNumber(_ directory: Int, _ number: Int) -> Int {
        100 + directory * 1000 + number
    }
}
