import Glibc
package import System

/// Where a store is, as a user names it: `file:///data/store`, `/data/store`, `stores/mine` or `s3://bucket/prefix`.
package enum ObjectStoreURL: Hashable, Sendable {
    /// A directory, as an absolute path.
    case directory(ByteString)
    /// A bucket or a part of one: the URL's text, which begins with `s3://` and holds no user or password. The S3
    /// module knows the rest of its grammar.
    case bucket(String)

    /// Parses what a user typed. A path without a scheme is taken below `workingDirectory` unless absolute.
    package init(_ text: String, workingDirectory: ByteString) throws(ObjectStoreURLError) {
        guard !text.isEmpty else { throw ObjectStoreURLError(text, "it is empty") }
        guard let separator = Self.schemeEnd(text) else {
            let path = ByteString(text)
            self = .directory(
                Self.normalized(path.bytes.first == Self.slash ? path : workingDirectory.appending(path)))
            return
        }
        let scheme = text.utf8[..<separator]
        if scheme.elementsEqual("s3".utf8) {
            let authority = text.utf8[separator...].dropFirst(3).prefix { $0 != Self.slash }
            guard !authority.contains(UInt8(ascii: "@")) else {
                // Not repeated: what stands before the @ may be a secret.
                throw ObjectStoreURLError(
                    "s3://...@...",
                    "credentials do not belong in a URL: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile"
                )
            }
            self = .bucket(text)
            return
        }
        guard scheme.elementsEqual("file".utf8) else {
            throw ObjectStoreURLError(text, "this version knows file:// and s3:// stores")
        }
        var path = Array(text.utf8[separator...].dropFirst(3))
        if path.starts(with: "localhost/".utf8) { path.removeFirst("localhost".utf8.count) }
        guard path.first == Self.slash else {
            throw ObjectStoreURLError(text, "file:// needs an absolute path, as in file:///data/store")
        }
        guard let decoded = Self.percentDecoded(path), !decoded.contains(0) else {
            throw ObjectStoreURLError(text, "a % must be followed by two hex digits other than 00")
        }
        self = .directory(Self.normalized(ByteString(decoded)))
    }

    /// As above, below the process's working directory.
    package init(_ text: String) throws(ObjectStoreURLError) {
        guard let current = unsafe getcwd(nil, 0) else {
            throw ObjectStoreURLError(text, "the working directory is gone: \(Errno.last)")
        }
        defer { unsafe free(current) }
        let bytes = unsafe UnsafeRawBufferPointer(start: current, count: strlen(current))
        unsafe try self.init(text, workingDirectory: ByteString(bytes))
    }

    private static let slash = UInt8(ascii: "/")

    /// The index of `://` when a scheme of letters stands before it.
    private static func schemeEnd(_ text: String) -> String.Index? {
        guard let colon = text.utf8.firstIndex(of: UInt8(ascii: ":")),
            text.utf8[colon...].starts(with: "://".utf8)
        else { return nil }
        return colon
    }

    private static func percentDecoded(_ bytes: [UInt8]) -> [UInt8]? {
        var decoded: [UInt8] = []
        var index = 0
        while index < bytes.count {
            if bytes[index] == UInt8(ascii: "%") {
                guard index + 2 < bytes.count,
                    let value = UInt8(
                        String(decoding: bytes[(index + 1)...(index + 2)], as: UTF8.self), radix: 16)
                else { return nil }
                decoded.append(value)
                index += 3
            } else {
                decoded.append(bytes[index])
                index += 1
            }
        }
        return decoded
    }

    /// Without empty and `.` segments. `..` stays: what it means depends on symlinks.
    private static func normalized(_ path: ByteString) -> ByteString {
        let segments = path.bytes.split(separator: slash).filter { !$0.elementsEqual([UInt8(ascii: ".")]) }
        return ByteString([slash] + Array(segments.joined(separator: [slash])))
    }
}

extension ObjectStoreURL: CustomStringConvertible {
    /// A URL, with what a URL cannot hold percent-encoded.
    package var description: String {
        switch self {
        case .directory(let path): "file://" + Self.percentEncoded(path)
        case .bucket(let text): text
        }
    }

    private static func percentEncoded(_ path: ByteString) -> String {
        var text = ""
        for byte in path.bytes {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "/"), UInt8(ascii: "."),
                UInt8(ascii: "-"),
                UInt8(ascii: "_"), UInt8(ascii: "~"), UInt8(ascii: "+"), UInt8(ascii: "="), UInt8(ascii: "@"),
                UInt8(ascii: ","), UInt8(ascii: ":"):
                text.unicodeScalars.append(Unicode.Scalar(byte))
            default:
                let hex = String(byte, radix: 16, uppercase: true)
                text += hex.count < 2 ? "%0\(hex)" : "%\(hex)"
            }
        }
        return text
    }
}

/// Why a store's URL is not one.
package struct ObjectStoreURLError: Error, Hashable, Sendable, CustomStringConvertible {
    package var text: String
    package var reason: String
    /// The option, variable or file that `text` is from, when it is no store's URL itself.
    package var setting: String?

    /// `text` must hold no secret: it is shown.
    package init(_ text: String, _ reason: String, setting: String? = nil) {
        self.text = text
        self.reason = reason
        self.setting = setting
    }

    package var description: String {
        if let setting { return "\(setting) is \"\(text)\": \(reason)" }
        return
            "\"\(text)\" does not name a store: \(reason); give file:///absolute/path, a path, or s3://bucket/prefix"
    }
}
