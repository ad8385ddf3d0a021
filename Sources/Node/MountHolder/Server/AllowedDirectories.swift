package import System

/// Where a holder mounts. It does so on the word of an agent without privileges, which must not be able to cover
/// /etc with a file system of its own.
package struct AllowedDirectories: Sendable, Equatable {
    private let directories: [ByteString]

    /// Absolute paths, free of symlinks.
    package init(_ directories: [ByteString]) { self.directories = directories }

    /// Whether a path, absolute and free of symlinks, lies below one of them.
    package func contain(_ path: ByteString) -> Bool {
        let components = Self.components(path)
        if components.contains(where: { $0.elementsEqual("..".utf8) || $0.elementsEqual(".".utf8) }) {
            return false
        }
        return directories.contains { directory in
            let above = Self.components(directory)
            return components.count > above.count && components.starts(with: above)
        }
    }

    private static func components(_ path: ByteString) -> [ArraySlice<UInt8>] {
        path.bytes.split(separator: UInt8(ascii: "/"))
    }
}
