import Chunking
import DatasetStore
import Glibc
import KamlTestSupport
import ObjectStore
import System

/// A source directory to commit, a store in memory, and what a comparison needs.
final class SourceFixture: Sendable {
    let directory: TemporaryDirectory
    let cache: TemporaryDirectory
    let objects: MemoryObjectStore
    let store: Store
    var root: ByteString { directory.path }

    init() throws {
        directory = try TemporaryDirectory()
        cache = try TemporaryDirectory()
        objects = MemoryObjectStore()
        store = try Store.create(at: objects)
    }

    func path(_ relative: ByteString) -> ByteString { relative.isEmpty ? root : root.appending(relative) }

    func write(_ relative: ByteString, _ bytes: [UInt8], mode: UInt32 = 0o644) throws {
        let file = try FileDescriptor.open(path(relative), O_WRONLY | O_CREAT | O_TRUNC, mode: mode)
        try bytes.withUnsafeBytes { try file.write($0, at: 0) }
    }

    /// Writes a range of a file that is there, or beyond its end.
    func patch(_ relative: ByteString, at offset: UInt64, _ bytes: [UInt8]) throws {
        let file = try FileDescriptor.open(path(relative), O_WRONLY)
        try bytes.withUnsafeBytes { try file.write($0, at: offset) }
    }

    func truncate(_ relative: ByteString, _ size: UInt64) throws {
        try FileDescriptor.open(path(relative), O_WRONLY).truncate(to: size)
    }

    func makeDirectory(_ relative: ByteString, mode: UInt32 = 0o755) throws {
        try HostFileSystem().makeDirectory(path(relative), mode: mode)
    }

    func remove(_ relative: ByteString) { TemporaryDirectory.remove(path(relative)) }

    func rename(_ from: ByteString, _ to: ByteString) throws {
        try HostFileSystem().rename(path(from), path(to))
    }

    func symlink(_ target: ByteString, _ relative: ByteString) throws {
        let status = target.withCString { target in path(relative).withCString { Glibc.symlink(target, $0) } }
        if status != 0 { throw Errno.last }
    }

    func link(_ from: ByteString, _ to: ByteString) throws { try HostFileSystem().link(path(from), path(to)) }

    func options(_ change: (inout CommitOptions) -> Void = { _ in }) throws -> CommitOptions {
        guard let dataset = DatasetName("data") else { throw Errno.invalid }
        var options = CommitOptions(dataset: dataset, source: root)
        options.statCacheDirectory = cache.path
        change(&options)
        return options
    }

    @discardableResult
    func commit(_ change: (inout CommitOptions) -> Void = { _ in }) throws -> CommitResult {
        try store.commit(options(change))
    }

    func snapshot(_ result: CommitResult) throws -> Snapshot { try store.snapshot(result.snapshot) }

    var packCount: Int { get throws { try objects.list("packs/").count } }
    var storedBytes: UInt64 { get throws { try objects.list("").reduce(0) { $0 + $1.size } } }
}

/// An entry as a test compares it.
struct Item: Equatable, CustomStringConvertible {
    var mode: UInt32
    var userID: UInt32
    var groupID: UInt32
    var modified: Timestamp
    var attributes: [ExtendedAttribute]
    var bytes: [UInt8]
    var target: ByteString?
    /// The first path of the same inode, in the order of paths.
    var linkOf: ByteString?

    var description: String {
        "mode \(String(mode, radix: 8)) \(userID):\(groupID) \(modified) \(bytes.count) bytes "
            + "hash \(ContentHash.of(.chunk, bytes).hex.prefix(8)) target \(target?.description ?? "-") "
            + "link \(linkOf?.description ?? "-") xattrs \(attributes.map(\.name))"
    }
}

/// The source directory as it is, by path; the root under the empty path. Special files are left out.
func items(of root: ByteString) throws -> [ByteString: Item] {
    var found: [ByteString: Item] = [:]
    var paths: [(keyPath: ByteString, path: ByteString, status: FileStatus)] = []
    func walk(_ path: ByteString, _ keyPath: ByteString) throws {
        let full = path.isEmpty ? root : root.appending(path)
        let status = try HostFileSystem().status(of: full)
        if status.kind == .other { return }
        paths.append((keyPath, path, status))
        guard status.kind == .directory else { return }
        for entry in try HostFileSystem().list(full) {
            try walk(path.appending(entry.name), ManifestEntry.keyPath(directory: keyPath, name: entry.name))
        }
    }
    try walk("", "")
    var first: [UInt64: ByteString] = [:]
    for (_, path, status) in paths.sorted(by: { order($0.keyPath) < order($1.keyPath) }) {
        var item = Item(
            mode: status.mode, userID: status.userID, groupID: status.groupID, modified: status.modified,
            attributes: [], bytes: [])
        let full = path.isEmpty ? root : root.appending(path)
        if status.kind == .symlink {
            item.target = try full.withCString { try readSymlink($0, in: AT_FDCWD) }
        } else {
            let file = try FileDescriptor.open(full, O_RDONLY)
            item.attributes = try userAttributes(of: file).map {
                ExtendedAttribute(name: $0.name, value: $0.value)
            }
            if status.kind == .regular {
                var bytes = [UInt8](repeating: 0, count: Int(status.size))
                let count = try bytes.withUnsafeMutableBytes { try file.read(into: $0, at: 0) }
                item.bytes = Array(bytes[..<count])
                if status.linkCount > 1 {
                    if let other = first[status.inode] {
                        item.linkOf = other
                    } else {
                        first[status.inode] = path
                    }
                }
            }
        }
        found[path] = item
    }
    return found
}

/// The manifest's order: parent path, then name.
private func order(_ keyPath: ByteString) -> OrderKey {
    guard let split = keyPath.bytes.lastIndex(of: 0) else { return OrderKey(directory: "", name: keyPath) }
    return OrderKey(
        directory: ByteString(Array(keyPath.bytes[..<split])),
        name: ByteString(Array(keyPath.bytes[(split + 1)...])))
}

private struct OrderKey: Comparable {
    var directory: ByteString
    var name: ByteString
    static func < (left: OrderKey, right: OrderKey) -> Bool {
        left.directory == right.directory ? left.name < right.name : left.directory < right.directory
    }
}

/// A snapshot as it reads back, by path.
func items(of snapshot: Snapshot, in store: Store) throws -> [ByteString: Item] {
    var found: [ByteString: Item] = [:]
    var reader = FileReader(store)
    var entries: [ManifestEntry] = []
    try snapshot.forEachEntry { (_, view, index) throws(StoreError) in entries.append(view.entry(index)) }
    for entry in entries {
        let path = ManifestEntry.displayPath(keyPath: entry.keyPath)
        var item = Item(
            mode: entry.mode, userID: entry.userID, groupID: entry.groupID, modified: entry.modified,
            attributes: entry.attributes, bytes: [])
        switch entry.contents {
        case .symlink(let target): item.target = target
        case .hardLink(let target):
            item.linkOf = ManifestEntry.displayPath(keyPath: target)
            item.bytes = item.linkOf.flatMap { found[$0]?.bytes } ?? []
        default: item.bytes = try reader.bytes(of: entry)
        }
        found[path] = item
    }
    return found
}

/// What differs between two trees, for a message; empty when nothing does.
func differences(_ left: [ByteString: Item], _ right: [ByteString: Item]) -> [String] {
    Set(left.keys).union(right.keys).compactMap { path in
        left[path] == right[path]
            ? nil : "\(path): \(left[path]?.description ?? "none") / \(right[path]?.description ?? "none")"
    }
}

extension SplitMix64 {
    /// Text that zstd shortens.
    mutating func text(_ count: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count + 16)
        while bytes.count < count { bytes += Array("line \(next() % 100_000) of it\n".utf8) }
        return Array(bytes[..<count])
    }
}
