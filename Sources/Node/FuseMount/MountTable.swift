import Glibc
package import System

/// One line of /proc/self/mountinfo, the parts that matter here.
package struct MountTableEntry: Sendable, Equatable {
    /// `major:minor`, which is also the name of the backing device information in sysfs.
    package var device: ByteString
    package var mountPoint: ByteString
    package var type: ByteString
    package var source: ByteString

    package var isFuse: Bool { type == "fuse" || type.bytes.starts(with: Array("fuse.".utf8)) }
}

/// The mounts this process sees. Reading it touches no mounted file system, so it cannot hang on a stuck one.
package enum MountTable {
    package static func read() throws(Errno) -> [MountTableEntry] {
        parse(try readSmallFile("/proc/self/mountinfo"))
    }

    /// The topmost mount at exactly this path.
    package static func entry(at mountPoint: ByteString) throws(Errno) -> MountTableEntry? {
        try read().last { $0.mountPoint == mountPoint }
    }

    /// The mount of this type that a path leads through, told by the absolute path's text alone: the mount itself may
    /// be one that answers nothing. The mount point's own path does not lead through it.
    package static func entry(
        above path: ByteString, type: ByteString, in mounts: [MountTableEntry]
    ) -> MountTableEntry? {
        guard path.bytes.first == UInt8(ascii: "/") else { return nil }
        // What covers a mount at its own place is asked instead of it.
        var topmost: [ByteString: MountTableEntry] = [:]
        for entry in mounts { topmost[entry.mountPoint] = entry }
        var walked: [UInt8] = []
        for component in path.bytes.split(separator: UInt8(ascii: "/")) {
            if component.elementsEqual(".".utf8) { continue }
            if component.elementsEqual("..".utf8) {
                walked.removeSubrange((walked.lastIndex(of: UInt8(ascii: "/")) ?? 0)...)
                continue
            }
            if let entry = topmost[walked.isEmpty ? "/" : ByteString(walked)], entry.type == type {
                return entry
            }
            walked.append(UInt8(ascii: "/"))
            walked += component
        }
        return nil
    }

    /// `36 35 98:0 /root /mount/point options [optional fields] - type source super-options` (proc(5)).
    package static func parse(_ text: [UInt8]) -> [MountTableEntry] {
        text.split(separator: UInt8(ascii: "\n")).compactMap { line in
            let fields = line.split(separator: UInt8(ascii: " "))
            guard fields.count >= 10,
                let dash = fields.firstIndex(where: { $0.elementsEqual("-".utf8) }),
                dash >= 6, dash + 2 < fields.count
            else { return nil }
            return MountTableEntry(
                device: ByteString(Array(fields[2])), mountPoint: unescape(fields[4]),
                type: unescape(fields[dash + 1]), source: unescape(fields[dash + 2]))
        }
    }

    /// Space, tab, newline and backslash are written as a backslash and three octal digits.
    private static func unescape(_ field: ArraySlice<UInt8>) -> ByteString {
        var bytes: [UInt8] = []
        var rest = field
        while let byte = rest.popFirst() {
            let digits = rest.prefix(3)
            let isOctal = digits.count == 3 && digits.allSatisfy { (0x30...0x37).contains($0) }
            if byte == UInt8(ascii: "\\"), isOctal {
                let value = digits.reduce(0) { $0 * 8 + Int($1 - 0x30) }
                bytes.append(UInt8(truncatingIfNeeded: value))
                rest = rest.dropFirst(3)
            } else {
                bytes.append(byte)
            }
        }
        return ByteString(bytes)
    }

    /// The path as mountinfo shows it: absolute, its parent free of symlinks.
    ///
    /// The last component is resolved with readlink(2) only, which asks a mounted file system nothing:
    /// realpath(3) of a dead mount would fail, and of a stuck one hang.
    package static func canonical(_ path: ByteString) throws(Errno) -> ByteString {
        var path = path
        var linksLeft = 40
        while true {
            while path.count > 1, path.bytes.last == UInt8(ascii: "/") { path.bytes.removeLast() }
            if path == "/" { return path }
            let slash = path.bytes.lastIndex(of: UInt8(ascii: "/"))
            let name = ByteString(Array(path.bytes[(slash.map { $0 + 1 } ?? 0)...]))
            let parent: ByteString =
                switch slash {
                case nil: "."
                case 0: "/"
                case let slash?: ByteString(Array(path.bytes[..<slash]))
                }
            if name == "." || name == ".." { return try realPath(path) }
            let directory = try realPath(parent)
            let whole = directory.appending(name)
            guard let target = readLink(whole) else { return whole }
            linksLeft -= 1
            if linksLeft == 0 { throw .loop }
            path = target.bytes.first == UInt8(ascii: "/") ? target : directory.appending(target)
        }
    }

    private static func realPath(_ path: ByteString) throws(Errno) -> ByteString {
        try unsafe path.withCString { path throws(Errno) in
            guard let resolved = unsafe realpath(path, nil) else { throw Errno.last }
            defer { unsafe free(resolved) }
            return unsafe ByteString(UnsafeRawBufferPointer(start: resolved, count: strlen(resolved)))
        }
    }

    private static func readLink(_ path: ByteString) -> ByteString? {
        var buffer = [UInt8](repeating: 0, count: Int(PATH_MAX))
        let count = unsafe path.withCString { path in
            unsafe buffer.withUnsafeMutableBytes { raw in
                unsafe raw.baseAddress.map { unsafe readlink(path, $0, raw.count) } ?? -1
            }
        }
        return count > 0 ? ByteString(Array(buffer.prefix(count))) : nil
    }
}

/// A whole file of procfs, sysfs or /etc: small, but of a size that stat does not tell.
func readSmallFile(_ path: ByteString) throws(Errno) -> [UInt8] {
    let file = try FileDescriptor.open(path, O_RDONLY)
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 64 << 10)
    while true {
        // Not pread: procfs makes whole lines only for plain reads that follow one another.
        let descriptor = file.rawValue
        let count = try retryingOnInterrupt {
            unsafe chunk.withUnsafeMutableBytes { unsafe Glibc.read(descriptor, $0.baseAddress, $0.count) }
        }
        if count == 0 { return bytes }
        bytes += chunk.prefix(count)
    }
}
