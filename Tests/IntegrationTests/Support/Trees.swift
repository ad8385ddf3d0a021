import CXattr
import Glibc
import KamlTestSupport
import System

/// How two trees differ, one line each; nothing when they are equal in every byte and attribute that a snapshot
/// keeps. `ignoring` are kinds of difference to leave out.
func differences(_ source: ByteString, _ copy: ByteString, ignoring: Set<String> = []) throws -> [String] {
    var comparison = TreeComparison(ignoring: ignoring)
    try comparison.compare(source, copy)
    return comparison.found
}

private struct TreeComparison {
    let ignoring: Set<String>
    var found: [String] = []
    /// Inode in the source, to inode in the copy: hard links share theirs, and nothing else does.
    var inodes: [UInt64: UInt64] = [:]

    mutating func note(_ what: String, _ path: ByteString, _ detail: String) {
        if !ignoring.contains(what) { found.append("\(path): \(what): \(detail)") }
    }

    mutating func compare(_ source: ByteString, _ copy: ByteString) throws {
        let files = HostFileSystem()
        let (left, right) = (try files.status(of: source), try files.status(of: copy))
        if left.mode != right.mode { note("mode", source, "\(left.mode) \(right.mode)") }
        if (left.userID, left.groupID) != (right.userID, right.groupID) {
            note("owner", source, "\(left.userID):\(left.groupID) \(right.userID):\(right.groupID)")
        }
        if left.modified != right.modified { note("mtime", source, "\(left.modified) \(right.modified)") }
        if left.kind != right.kind { return note("kind", source, "\(left.kind) \(right.kind)") }
        let (ours, theirs) = (try attributes(source), try attributes(copy))
        if ours != theirs { note("xattrs", source, "\(ours) \(theirs)") }
        if left.kind != .directory {
            if left.size != right.size { note("size", source, "\(left.size) \(right.size)") }
            if left.linkCount != right.linkCount {
                note("nlink", source, "\(left.linkCount) \(right.linkCount)")
            }
            let known = inodes[left.inode] ?? right.inode
            inodes[left.inode] = known
            if known != right.inode { note("inode", source, "hard links became two files") }
        }
        switch left.kind {
        case .directory:
            let (ours, theirs) = (try names(source), try names(copy))
            if ours != theirs { note("names", source, "\(ours.symmetricDifference(theirs))") }
            for name in ours.intersection(theirs).sorted() {
                try compare(source.appending(name), copy.appending(name))
            }
        case .symlink:
            let (ours, theirs) = (try linkTarget(source), try linkTarget(copy))
            if ours != theirs { note("target", source, "\(ours) \(theirs)") }
        case .regular:
            if let difference = try firstDifference(source, copy) { note("bytes", source, difference) }
        case .other: break
        }
    }
}

func names(_ path: ByteString) throws -> Set<ByteString> { Set(try HostFileSystem().list(path).map(\.name)) }

func linkTarget(_ path: ByteString) throws -> ByteString {
    var buffer = [CChar](repeating: 0, count: 4097)
    let count = path.withCString { path in readlink(path, &buffer, buffer.count) }
    guard count >= 0 else { throw Errno.last }
    return ByteString(buffer.prefix(count).map { UInt8(bitPattern: $0) })
}

/// The `user.*` attributes that are listed, with their values.
func attributes(_ path: ByteString) throws -> [ByteString: ByteString] {
    var list = [UInt8](repeating: 0, count: 65536)
    let count = path.withCString { path in
        list.withUnsafeMutableBytes { llistxattr(path, $0.baseAddress, $0.count) }
    }
    guard count >= 0 else { throw Errno.last }
    var found: [ByteString: ByteString] = [:]
    for name in list.prefix(count).split(separator: 0) where name.starts(with: Array("user.".utf8)) {
        found[ByteString(Array(name))] = try attribute(path, ByteString(Array(name)))
    }
    return found
}

func attribute(_ path: ByteString, _ name: ByteString) throws(Errno) -> ByteString {
    var value = [UInt8](repeating: 0, count: 65536)
    let count = path.withCString { path in
        name.withCString { name in
            value.withUnsafeMutableBytes { lgetxattr(path, name, $0.baseAddress, $0.count) }
        }
    }
    guard count >= 0 else { throw Errno.last }
    return ByteString(Array(value.prefix(count)))
}

func setAttribute(_ path: ByteString, _ name: ByteString, _ value: [UInt8]) throws {
    let result = path.withCString { path in
        name.withCString { name in
            value.withUnsafeBytes { lsetxattr(path, name, $0.baseAddress, $0.count, 0) }
        }
    }
    guard result == 0 else { throw Errno.last }
}

/// Where the bytes of two files part; nil when they are the same.
func firstDifference(_ left: ByteString, _ right: ByteString) throws -> String? {
    let one = try FileDescriptor.open(left, O_RDONLY)
    let two = try FileDescriptor.open(right, O_RDONLY)
    var ours = [UInt8](repeating: 0, count: 1 << 20)
    var theirs = ours
    var offset: UInt64 = 0
    while true {
        let count = try ours.withUnsafeMutableBytes { try one.read(into: $0, at: offset) }
        let other = try theirs.withUnsafeMutableBytes { try two.read(into: $0, at: offset) }
        if count != other {
            return "one ends at \(offset + UInt64(count)), the other at \(offset + UInt64(other))"
        }
        if memcmp(ours, theirs, count) != 0 {
            let at = (0..<count).first { ours[$0] != theirs[$0] } ?? 0
            return "byte \(offset + UInt64(at)) is \(theirs[at]), not \(ours[at])"
        }
        if count < ours.count { return nil }
        offset += UInt64(count)
    }
}

extension Lab {
    /// A small tree with a file of every kind of storage: an empty one, small ones, one of several chunks.
    func makeSmallTree(seed: UInt64 = 1) throws {
        var random = SplitMix64(seed: seed)
        try HostFileSystem().makeDirectories(source.appending("folder/below"))
        try writeWhole(source.appending("large"), random.bytes(2_500_000))
        try writeWhole(
            source.appending("folder/text"), Array(String(repeating: "some text\n", count: 3000).utf8))
        try writeWhole(source.appending("empty"), [])
        for index in 0..<20 {
            try writeWhole(
                source.appending(ByteString("folder/below/\(index)")), random.bytes(100 + index * 700))
        }
    }

    /// What a second version has: something new, changed, gone and renamed.
    func changeSmallTree(seed: UInt64 = 2) throws {
        var random = SplitMix64(seed: seed)
        let files = HostFileSystem()
        let large = try FileDescriptor.open(source.appending("large"), O_WRONLY)
        try random.bytes(1000).withUnsafeBytes { try large.write($0, at: 1_200_000) }
        try writeWhole(
            source.appending("folder/text"), Array(String(repeating: "some text\n", count: 2999).utf8) + [1])
        try writeWhole(source.appending("new"), random.bytes(1_300_000))
        try files.unlink(source.appending("folder/below/3"))
        try files.rename(source.appending("folder/below/4"), source.appending("moved"))
    }

    /// The store checks clean, and a reference's export is a directory's equal.
    func isSound(_ reference: ByteString, equals directory: ByteString) throws -> [String] {
        let check = try run(["kaml", "check", "--read-data"])
        guard check.status == 0 else { return ["check: \(check)"] }
        let target = path("export")
        try shell("rm", "-rf", target)
        let export = try run(["kaml", "export", reference, target])
        guard export.status == 0 else { return ["export: \(export)"] }
        return try differences(directory, target)
    }
}
