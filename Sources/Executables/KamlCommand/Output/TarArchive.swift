import CZstd

/// A tar archive (POSIX ustar) of small files, put together in memory.
package struct TarArchive {
    /// Of a name in the header; longer ones are refused.
    package static let longestName = 100
    private static let block = 512
    private static let record = 20 * block

    private var bytes: [UInt8] = []
    private let time: Int64

    /// `time`: the modification time of all files, in seconds since 1970.
    package init(time: Int64) { self.time = max(0, time) }

    /// Adds a file that its owner alone may read. False for a name that is no plain relative path.
    package mutating func add(_ name: String, _ content: [UInt8]) -> Bool {
        guard Self.isPlain(name) else { return false }
        var header = [UInt8](repeating: 0, count: Self.block)
        func put(_ text: String, at offset: Int) {
            for (index, byte) in text.utf8.enumerated() { header[offset + index] = byte }
        }
        // Numbers are octal digits with a NUL after them.
        func octal(_ value: UInt64, _ digits: Int) -> String {
            let text = String(value, radix: 8)
            return String(repeating: "0", count: max(0, digits - text.utf8.count)) + text
        }
        put(name, at: 0)
        put(octal(0o600, 7), at: 100)
        put(octal(0, 7), at: 108)
        put(octal(0, 7), at: 116)
        put(octal(UInt64(content.count), 11), at: 124)
        put(octal(UInt64(time), 11), at: 136)
        put("        0", at: 148)
        put("ustar", at: 257)
        put("00", at: 263)
        // The sum of the header with blanks in its own place.
        let sum = header.reduce(0) { $0 + UInt64($1) }
        put(octal(sum, 6) + "\0 ", at: 148)
        bytes += header
        bytes += content
        bytes += [UInt8](repeating: 0, count: (Self.block - content.count % Self.block) % Self.block)
        return true
    }

    private static func isPlain(_ name: String) -> Bool {
        let parts = name.split(separator: "/", omittingEmptySubsequences: false)
        return (1...longestName).contains(name.utf8.count)
            && name.utf8.allSatisfy { (0x21...0x7E).contains($0) && $0 != UInt8(ascii: "\\") }
            && parts.allSatisfy { !$0.isEmpty && $0 != "." && $0 != ".." }
    }

    /// The whole, compressed with zstd; nil when memory does not suffice.
    package consuming func compressed() -> [UInt8]? {
        var whole = bytes
        whole += [UInt8](repeating: 0, count: 2 * Self.block)
        whole += [UInt8](repeating: 0, count: (Self.record - whole.count % Self.record) % Self.record)
        let limit = ZSTD_compressBound(whole.count)
        var result = [UInt8](repeating: 0, count: limit)
        let size = unsafe result.withUnsafeMutableBytes { target in
            unsafe whole.withUnsafeBytes { source in
                unsafe ZSTD_compress(target.baseAddress, target.count, source.baseAddress, source.count, 3)
            }
        }
        guard ZSTD_isError(size) == 0 else { return nil }
        return Array(result.prefix(size))
    }
}
