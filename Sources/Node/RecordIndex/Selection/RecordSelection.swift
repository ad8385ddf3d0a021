package import System

/// Which files of a snapshot a feed reads, and how.
package struct RecordSelection: Sendable, Hashable {
    /// Files and directories, or patterns; all files when empty. Sorted, without slashes at either end.
    package let paths: [PathPattern]
    /// Nil to go by the files' names.
    package let format: RecordFormat?
    /// Of `RecordFormat.fixed`.
    package let recordBytes: UInt32
    package let headerBytes: UInt32

    /// Most paths of a selection.
    package static let mostPaths = 64

    /// - Parameter paths: each a path of the snapshot, or a pattern of them: `*` and `?` stand for any bytes but slashes,
    ///   `**` for any at all. What lies below a directory that one names belongs to it.
    /// - Throws: `.invalidInput`.
    package init(
        paths: [ByteString] = [], format: RecordFormat? = nil, recordBytes: UInt32 = 0,
        headerBytes: UInt32 = 0
    ) throws(RecordIndexError) {
        guard paths.count <= Self.mostPaths else {
            throw RecordIndexError(
                .invalidInput, "there are \(paths.count) paths, more than \(Self.mostPaths)")
        }
        var patterns: Set<PathPattern> = []
        for path in paths {
            guard let pattern = PathPattern(path) else {
                throw RecordIndexError(
                    .invalidInput, "no path of a snapshot",
                    path: ByteString(Array(path.bytes.prefix(256))).description,
                    remedy: "Paths have no .. and at most \(PathPattern.longest) bytes")
            }
            patterns.insert(pattern)
        }
        // The root is everything.
        self.paths = patterns.contains { $0.text.isEmpty } ? [] : patterns.sorted { $0.text < $1.text }
        if format == .fixed, recordBytes == 0 {
            throw RecordIndexError(
                .invalidInput, "records of a fixed length need the length",
                remedy: "Give record_bytes (--record-bytes)")
        }
        if format != .fixed, recordBytes > 0 || headerBytes > 0 {
            throw RecordIndexError(
                .invalidInput, "a record length goes with the format \"fixed\" only",
                remedy: "Give that format, or no length")
        }
        (self.format, self.recordBytes, self.headerBytes) = (format, recordBytes, headerBytes)
    }

    /// Whether a file belongs to it, by its path with slashes.
    package func contains(_ path: [UInt8]) -> Bool { paths.isEmpty || paths.contains { $0.matches(path) } }

    /// What an index keeps to tell whose it is: format u8 (0 for none), zeros, record bytes u32, header bytes u32, the paths.
    var encoded: [UInt8] {
        var bytes: [UInt8] = [format?.rawValue ?? 0, 0, 0, 0]
        bytes.append(littleEndian: recordBytes)
        bytes.append(littleEndian: headerBytes)
        for path in paths { bytes.append(name: path.text.bytes) }
        return bytes
    }

    /// A short name of what `encoded` is, which may be that of another selection too.
    static func tag(of encoded: [UInt8]) -> String {
        // FNV-1a.
        let hash = encoded.reduce(0xCBF2_9CE4_8422_2325 as UInt64) {
            ($0 ^ UInt64($1)) &* 0x0000_0100_0000_01B3
        }
        let digits = String(hash, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}

/// A path of a snapshot, or a pattern of paths.
package struct PathPattern: Sendable, Hashable {
    package let text: ByteString
    private let isPattern: Bool

    /// Most bytes of it.
    static let longest = 4096

    /// Nil for what names no path.
    init?(_ path: ByteString) {
        guard path.count <= Self.longest, !path.bytes.contains(0) else { return nil }
        let parts = path.bytes.split(separator: UInt8(ascii: "/")).filter { !$0.elementsEqual(".".utf8) }
        guard !parts.contains(where: { $0.elementsEqual("..".utf8) }) else { return nil }
        text = ByteString(Array(parts.joined(separator: [UInt8(ascii: "/")])))
        isPattern = text.bytes.contains { $0 == UInt8(ascii: "*") || $0 == UInt8(ascii: "?") }
    }

    /// Whether the path, or a directory that it lies in, is meant.
    func matches(_ path: [UInt8]) -> Bool {
        if !isPattern {
            let text = text.bytes
            return path.starts(with: text)
                && (path.count == text.count || path[text.count] == UInt8(ascii: "/"))
        }
        return Glob.matches(text.bytes, path)
    }

    /// The directories before the first part with a wildcard; of a path all of it.
    var fixedPart: [UInt8] {
        guard isPattern else { return text.bytes }
        let parts = text.bytes.split(separator: UInt8(ascii: "/"))
            .prefix { !$0.contains(UInt8(ascii: "*")) && !$0.contains(UInt8(ascii: "?")) }
        return Array(parts.joined(separator: [UInt8(ascii: "/")]))
    }
}

/// Wildcards over paths.
enum Glob {
    /// Whether the pattern matches the path or a directory that it lies in.
    ///
    /// Greedy with two places to go back to, the last `*` and the last `**`: enough, since a `*` ends at a slash at the
    /// latest, so what an earlier one took does not change what can follow.
    static func matches(_ pattern: [UInt8], _ path: [UInt8]) -> Bool {
        let (star, any, slash) = (UInt8(ascii: "*"), UInt8(ascii: "?"), UInt8(ascii: "/"))
        var (p, s) = (0, 0)
        var single: (p: Int, s: Int)?
        var double: (p: Int, s: Int)?
        while true {
            if p == pattern.count {
                if s == path.count || path[s] == slash { return true }
            } else if pattern[p] == star {
                let begin = p
                while p < pattern.count, pattern[p] == star { p += 1 }
                if p - begin > 1 { (single, double) = (nil, (p, s)) } else { single = (p, s) }
                continue
            } else if s < path.count, pattern[p] == path[s] || pattern[p] == any && path[s] != slash {
                (p, s) = (p + 1, s + 1)
                continue
            }
            if let last = single, last.s < path.count, path[last.s] != slash {
                single = (last.p, last.s + 1)
                (p, s) = (last.p, last.s + 1)
            } else if let last = double, last.s < path.count {
                (single, double) = (nil, (last.p, last.s + 1))
                (p, s) = (last.p, last.s + 1)
            } else {
                return false
            }
        }
    }
}
