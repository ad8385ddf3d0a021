package import System

/// The command line as bytes. Swift's own strings repair what is not UTF-8, and a file's name may be that.
package enum RawArguments {
    /// The bytes that `argument` was made of; its own when it holds no repaired place.
    package static func bytes(of argument: String) -> ByteString {
        guard argument.unicodeScalars.contains("\u{FFFD}") else { return ByteString(argument) }
        return all.first { String(decoding: $0.bytes, as: UTF8.self).hasSuffix(argument) }
            .map { suffix(of: $0, argument) } ?? ByteString(argument)
    }

    /// All arguments, the program's name first.
    package static var all: [ByteString] {
        (0..<Int(CommandLine.argc)).compactMap { index in
            unsafe CommandLine.unsafeArgv[index].map {
                unsafe ByteString(Array(UnsafeRawBufferPointer(start: $0, count: length($0))))
            }
        }
    }

    private static func length(_ text: UnsafeMutablePointer<Int8>) -> Int {
        var count = 0
        while unsafe text[count] != 0 { count += 1 }
        return count
    }

    /// Of `--option=value` the value: the shortest end of the bytes that reads as `argument`.
    private static func suffix(of bytes: ByteString, _ argument: String) -> ByteString {
        for start in bytes.bytes.indices.reversed() {
            let rest = Array(bytes.bytes[start...])
            if String(decoding: rest, as: UTF8.self) == argument { return ByteString(rest) }
        }
        return bytes
    }
}
