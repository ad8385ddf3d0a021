/// Why an object of a source is not a file of the snapshot. Its bytes stay where they are; nothing is renamed.
package enum KeyProblem: String, Sendable, Hashable, CaseIterable {
    /// An empty part: `a//b`, or a leading slash.
    case emptySegment
    /// A part that is `.` or `..`.
    case dotSegment
    /// A zero byte, which no file name can hold.
    case zeroByte
    /// A part of more than 255 bytes.
    case nameTooLong
    /// More than 4095 bytes in all.
    case pathTooLong
    /// A key that ends in a slash and yet has bytes: the directory is there, the bytes are not.
    case directoryWithBytes
    /// `dir` beside `dir/x`: the directory wins.
    case shadowedByDirectory
    /// The source listed a key twice; the first one counts.
    case listedTwice
    /// Of more bytes than any store has in one object: the listing is wrong.
    case tooLarge
    /// The source tells no tag for it, so that a change could not be noticed; or a key, tag or version id too long.
    case unidentified

    /// For people.
    package var words: String {
        switch self {
        case .emptySegment: "has an empty part (a//b, or a leading slash)"
        case .dotSegment: "has a part that is . or .."
        case .zeroByte: "has a zero byte"
        case .nameTooLong: "has a part of more than \(ManifestFormat.maximumNameLength) bytes"
        case .pathTooLong: "is longer than \(ManifestFormat.maximumPathLength - 1) bytes"
        case .directoryWithBytes: "ends in a slash and has bytes"
        case .shadowedByDirectory: "is also a directory of other objects"
        case .listedTwice: "was listed twice"
        case .tooLarge: "is listed with more than 5 TiB, which no object has"
        case .unidentified: "has no version that can be recorded"
        }
    }
}

/// What an object's key is in a snapshot.
///
/// A key whose parts are names becomes the file at that path, byte for byte; nothing is escaped, folded or cut, so a
/// key can be told from its path and two keys never meet in one path.
enum ObjectPath: Equatable {
    /// `nameStart`: where the last part begins in the key.
    case file(nameStart: Int)
    /// A directory marker: the key without its last slash; empty for the root's own.
    case directory(length: Int)
    case invalid(KeyProblem)

    init(_ key: UnsafeRawBufferPointer, size: UInt64) {
        let slash = UInt8(ascii: "/")
        var isMarker = false
        var end = key.count
        if unsafe key.isEmpty || key[end - 1] == slash {
            isMarker = true
            end = max(0, end - 1)
        }
        var start = 0
        var lastStart = 0
        // `bucket/prefix/` itself, listed below `prefix/`, has an empty key: the root's marker.
        while key.count > 0 {
            var stop = start
            while unsafe stop < end && key[stop] != slash {
                if unsafe key[stop] == 0 {
                    self = .invalid(.zeroByte)
                    return
                }
                stop += 1
            }
            if let problem = unsafe Self.problem(key, start, stop - start) {
                self = .invalid(problem)
                return
            }
            lastStart = start
            if stop >= end { break }
            start = stop + 1
        }
        if end > ManifestFormat.maximumPathLength - 1 {
            self = .invalid(.pathTooLong)
        } else if !isMarker {
            self = .file(nameStart: lastStart)
        } else {
            self = .directory(length: end)
        }
    }

    private static func problem(_ key: UnsafeRawBufferPointer, _ start: Int, _ count: Int) -> KeyProblem? {
        let dot = UInt8(ascii: ".")
        if count == 0 { return .emptySegment }
        let isDots = unsafe key[start] == dot && (count == 1 || (count == 2 && key[start + 1] == dot))
        if isDots { return .dotSegment }
        return count > ManifestFormat.maximumNameLength ? .nameTooLong : nil
    }
}
