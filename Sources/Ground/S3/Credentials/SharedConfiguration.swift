import Glibc
import System

/// One profile of the files that all AWS tools share: `~/.aws/config` and `~/.aws/credentials`.
package struct SharedConfiguration: Sendable {
    package let profile: String
    /// Of both files; for a key in both the credentials file counts.
    private let values: [String: String]
    /// The files that were there.
    let files: [String]

    static let maximumBytes = 1 << 20

    /// `profile`: what the command line says, else AWS_PROFILE, else `default`. Throws when a file cannot be read or
    /// understood, or when a profile that somebody named is in neither.
    package init(_ environment: S3Environment, profile named: String? = nil) throws(CredentialError) {
        let wanted = named ?? environment["AWS_PROFILE"] ?? environment["AWS_DEFAULT_PROFILE"]
        profile = wanted ?? "default"
        let home = environment["HOME"].map { ByteString($0) }
        let config =
            environment["AWS_CONFIG_FILE"].map { ByteString($0) } ?? home?.appending(".aws/config")
        let credentials =
            environment["AWS_SHARED_CREDENTIALS_FILE"].map { ByteString($0) }
            ?? home?.appending(".aws/credentials")
        var values: [String: String] = [:]
        var files: [String] = []
        var isKnown = false
        for (path, isConfig) in [(config, true), (credentials, false)] {
            guard let path, let text = try Self.read(path) else { continue }
            files.append(path.description)
            let sections = INIFile.sections(text)
            // The config file calls every profile but the default one `profile x`.
            let names =
                isConfig && profile != "default" ? ["profile \(profile)"] : [profile, "profile default"]
            for name in names.prefix(isConfig ? 2 : 1) {
                guard let section = sections[name] else { continue }
                isKnown = true
                values.merge(section) { $1 }
                break
            }
        }
        guard isKnown || wanted == nil else {
            let places = [config, credentials].compactMap { $0?.description }.joined(separator: " nor ")
            throw CredentialError(
                "profile \"\(profile)\" is in neither \(places)",
                advice: "name another with --s3-profile or AWS_PROFILE")
        }
        self.values = values
        self.files = files
    }

    package subscript(_ key: String) -> String? {
        guard let value = values[key], !value.isEmpty else { return nil }
        return value
    }

    private static func read(_ path: ByteString) throws(CredentialError) -> String? {
        do throws(Errno) {
            guard let bytes = try BoundedFile.read(path, limit: maximumBytes) else {
                throw Errno.fileTooLarge
            }
            return String(decoding: bytes, as: UTF8.self)
        } catch .noEntry {
            return nil
        } catch .notDirectory {
            return nil
        } catch {
            throw CredentialError("cannot read \(path): \(error)", advice: "check its owner and mode")
        }
    }
}

/// Small files of settings.
enum BoundedFile {
    /// The whole file; nil when it has more than `limit` bytes.
    static func read(_ path: ByteString, limit: Int) throws(Errno) -> [UInt8]? {
        // O_NONBLOCK: a fifo must not hold the process up.
        let file = try FileDescriptor.open(path, O_RDONLY | O_NONBLOCK)
        guard try file.status().kind == .regular else { throw .invalid }
        var bytes = [UInt8](repeating: 0, count: limit + 1)
        let outcome = unsafe bytes.withUnsafeMutableBytes { buffer in
            Result { () throws(Errno) in try unsafe file.read(into: buffer, at: 0) }
        }
        let count = try outcome.get()
        return count > limit ? nil : Array(bytes[..<count])
    }
}

/// The subset of INI that the AWS tools write: `[section]`, `key = value`, comments, nested blocks by indentation.
enum INIFile {
    static func sections(_ text: String) -> [String: [String: String]] {
        var sections: [String: [String: String]] = [:]
        var current: String?
        for line in text.split(whereSeparator: \.isNewline) {
            // Indented lines belong to a nested block such as `s3 =`, which nobody here reads.
            guard let first = line.utf8.first, first != UInt8(ascii: " "), first != UInt8(ascii: "\t"),
                first != UInt8(ascii: "#"), first != UInt8(ascii: ";")
            else { continue }
            if first == UInt8(ascii: "[") {
                guard let end = line.firstIndex(of: "]") else {
                    current = nil
                    continue
                }
                let words = line[line.index(after: line.startIndex)..<end]
                    .split(whereSeparator: { $0 == " " || $0 == "\t" })
                let name = words.joined(separator: " ").filter { $0 != "\"" && $0 != "'" }
                current = name
                sections[name] = sections[name] ?? [:]
                continue
            }
            guard let current, let equals = line.firstIndex(of: "=") else { continue }
            let key = trimmed(line[..<equals]).lowercased()
            var value = trimmed(line[line.index(after: equals)...])
            // A comment after a value begins with a space.
            if let comment = value.range(of: " #") ?? value.range(of: " ;") {
                value = trimmed(value[..<comment.lowerBound])
            }
            sections[current, default: [:]][key] = value
        }
        return sections
    }

    private static func trimmed(_ text: Substring) -> String {
        let isSpace: (Character) -> Bool = { $0 == " " || $0 == "\t" || $0 == "\r" }
        var text = text.drop(while: isSpace)
        while let last = text.last, isSpace(last) { text.removeLast() }
        return String(text)
    }

    private static func trimmed(_ text: String) -> String { trimmed(text[...]) }
}

extension String {
    /// Where `other` first stands in this text; both are short.
    fileprivate func range(of other: String) -> Range<String.Index>? {
        var start = startIndex
        while start < endIndex {
            if self[start...].hasPrefix(other) { return start..<index(start, offsetBy: other.count) }
            start = index(after: start)
        }
        return nil
    }
}
