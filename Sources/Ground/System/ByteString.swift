/// Bytes that name something: a file name, a path, a symlink's target.
///
/// Never a `String`: Swift's equality merges NFC and NFD twins and collapses invalid UTF-8, so two
/// different files of a dataset would become one.
package struct ByteString: Hashable, Sendable, Comparable, CustomStringConvertible, ExpressibleByStringLiteral
{
    package var bytes: [UInt8]

    package init(_ bytes: [UInt8]) { self.bytes = bytes }
    package init(_ string: String) { bytes = Array(string.utf8) }
    package init(stringLiteral value: String) { self.init(value) }
    package init(_ buffer: UnsafeRawBufferPointer) { bytes = unsafe Array(buffer) }

    package var count: Int { bytes.count }
    package var isEmpty: Bool { bytes.isEmpty }

    /// Byte order, which is what every sorted structure of the store format uses.
    package static func < (left: ByteString, right: ByteString) -> Bool {
        left.bytes.lexicographicallyPrecedes(right.bytes)
    }

    /// `self/name`, or `name` alone when `self` is empty.
    package func appending(_ name: ByteString) -> ByteString {
        if isEmpty { return name }
        if bytes.last == UInt8(ascii: "/") { return ByteString(bytes + name.bytes) }
        return ByteString(bytes + [UInt8(ascii: "/")] + name.bytes)
    }

    /// The bytes with a terminating NUL, valid during `body`.
    package func withCString<Result, Failure: Error>(
        _ body: (UnsafePointer<CChar>) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        var terminated = ContiguousArray<UInt8>()
        terminated.reserveCapacity(bytes.count + 1)
        terminated.append(contentsOf: bytes)
        terminated.append(0)
        let outcome = unsafe terminated.withUnsafeBytes { raw -> Swift.Result<Result, Failure> in
            do throws(Failure) {
                guard let base = raw.baseAddress else { preconditionFailure("never empty: ends in NUL") }
                return unsafe .success(try body(base.assumingMemoryBound(to: CChar.self)))
            } catch {
                return .failure(error)
            }
        }
        return try outcome.get()
    }

    /// For people: UTF-8 as it is; control characters, backslash and invalid bytes as `\xNN`.
    package var description: String {
        var text = ""
        var index = bytes.startIndex
        while index < bytes.endIndex {
            let byte = bytes[index]
            if byte >= 0x20, byte < 0x7F, byte != UInt8(ascii: "\\") {
                text.unicodeScalars.append(Unicode.Scalar(byte))
                index += 1
            } else if byte >= 0x80, let (scalar, length) = Self.decodeScalar(bytes[index...]) {
                text.unicodeScalars.append(scalar)
                index += length
            } else {
                let hex = String(byte, radix: 16)
                text += "\\x" + (hex.count < 2 ? "0" + hex : hex)
                index += 1
            }
        }
        return text
    }

    private static func decodeScalar(_ bytes: ArraySlice<UInt8>) -> (Unicode.Scalar, Int)? {
        var decoder = UTF8()
        var iterator = bytes.makeIterator()
        guard case .scalarValue(let scalar) = decoder.decode(&iterator) else { return nil }
        return (scalar, UTF8.width(scalar))
    }
}
