import Glibc
import System

/// How a value is written, wherever it comes from.
struct ValueForm<Value: Sendable>: Sendable {
    /// What a person would call it, such as `bytes`.
    var name: String
    var parse: @Sendable (String) throws(ValueError) -> Value
    var text: @Sendable (Value) -> String
}

extension ValueForm where Value == String {
    static let text = ValueForm(name: "text", parse: { $0 }, text: { $0 })

    static let url = ValueForm(
        name: "url",
        parse: { text throws(ValueError) in
            guard text.hasPrefix("http://") || text.hasPrefix("https://") else {
                throw ValueError("a URL here begins with https:// or http://")
            }
            let authority =
                text.split(separator: "/", omittingEmptySubsequences: true).dropFirst().first ?? ""
            if authority.contains("@") {
                throw ValueError("a user or a password does not belong into this URL")
            }
            return text
        }, text: { $0 })
}

extension ValueForm where Value == ByteString {
    /// An absolute path.
    static let path = ValueForm(
        name: "path",
        parse: { text throws(ValueError) in
            guard text.hasPrefix("/"), !text.utf8.contains(0) else {
                throw ValueError("a path here is absolute")
            }
            guard text.utf8.count < 4096 else { throw ValueError("this path is too long") }
            guard text.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F && $0 != UInt8(ascii: "\\") }) else {
                throw ValueError("a path here has no control characters and no backslash")
            }
            return ByteString(text)
        }, text: { "\($0)" })
}

extension ValueForm where Value == ByteString? {
    /// An absolute path, or nothing.
    static let optionalPath = ValueForm(
        name: "path",
        parse: { text throws(ValueError) in
            if text.isEmpty { return nil }
            return try ValueForm<ByteString>.path.parse(text)
        }, text: { $0.map { "\($0)" } ?? "" })
}

extension ValueForm where Value == [ByteString] {
    /// Absolute paths, separated as in PATH.
    static let paths = ValueForm(
        name: "paths separated by colons",
        parse: { text throws(ValueError) in
            var paths: [ByteString] = []
            for path in text.split(separator: ":") {
                paths.append(try ValueForm<ByteString>.path.parse(String(path)))
            }
            guard paths.count <= 16 else { throw ValueError("more than 16 files") }
            return paths
        }, text: { $0.map { "\($0)" }.joined(separator: ":") })
}

extension ValueForm where Value == String? {
    static func optional(_ form: ValueForm<String>) -> Self {
        ValueForm(
            name: form.name,
            parse: { text throws(ValueError) in
                if text.isEmpty { return nil }
                return try form.parse(text)
            }, text: { $0 ?? "" })
    }
}

extension ValueForm where Value == Bool {
    static let flag = ValueForm(
        name: "true or false",
        parse: { text throws(ValueError) in
            switch text {
            case "true": return true
            case "false": return false
            default: throw ValueError("this is true or false")
            }
        }, text: { "\($0)" })
}

extension ValueForm where Value == Int {
    static func count(_ range: ClosedRange<Int>) -> Self {
        ValueForm(
            name: "\(range.lowerBound) to \(range.upperBound)",
            parse: { text throws(ValueError) in
                guard let value = Int(text), range.contains(value) else {
                    throw ValueError("a whole number, \(range.lowerBound) to \(range.upperBound)")
                }
                return value
            }, text: { "\($0)" })
    }
}

extension ValueForm where Value == Double {
    static func ratio(_ range: ClosedRange<Double>) -> Self {
        ValueForm(
            name: "\(range.lowerBound) to \(range.upperBound)",
            parse: { text throws(ValueError) in
                guard let value = Double(text), range.contains(value) else {
                    throw ValueError("a number, \(range.lowerBound) to \(range.upperBound)")
                }
                return value
            }, text: { "\($0)" })
    }
}

extension ValueForm where Value == UInt64 {
    private static let units: [(String, UInt64)] = [
        ("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10),
    ]

    /// Bytes, with a unit of powers of 1024 or without one.
    static let bytes = ValueForm(
        name: "bytes, such as 500GiB",
        parse: { text throws(ValueError) in
            var digits = text[...]
            var factor: UInt64 = 1
            for (unit, bytes) in units where text.hasSuffix(unit) {
                digits = text.dropLast(unit.count)
                factor = bytes
            }
            guard let value = UInt64(digits.trimmingBlanks) else {
                throw ValueError("a number of bytes, perhaps with KiB, MiB, GiB or TiB, as in 500GiB")
            }
            let (bytes, overflow) = value.multipliedReportingOverflow(by: factor)
            guard !overflow, bytes <= 1 << 62 else { throw ValueError("that is more than any disk") }
            return bytes
        },
        text: { value in
            for (unit, bytes) in units where value > 0 && value % bytes == 0 {
                return "\(value / bytes)\(unit)"
            }
            return "\(value)"
        })

    static func number(_ range: ClosedRange<UInt64>) -> Self {
        ValueForm(
            name: "\(range.lowerBound) to \(range.upperBound)",
            parse: { text throws(ValueError) in
                guard let value = UInt64(text), range.contains(value) else {
                    throw ValueError("a whole number, \(range.lowerBound) to \(range.upperBound)")
                }
                return value
            }, text: { "\($0)" })
    }
}

extension ValueForm where Value: RawRepresentable<String> & CaseIterable {
    static var word: Self {
        let words = Value.allCases.map(\.rawValue).joined(separator: ", ")
        return ValueForm(
            name: words,
            parse: { text throws(ValueError) in
                guard let value = Value(rawValue: text) else { throw ValueError("one of \(words)") }
                return value
            }, text: \.rawValue)
    }
}

extension Substring {
    fileprivate var trimmingBlanks: Substring {
        var text = self
        while text.last == " " { text = text.dropLast() }
        return text
    }
}
