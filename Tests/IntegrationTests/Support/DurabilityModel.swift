import System

/// What a disk may hold after a power cut, worked out from the calls a program made.
///
/// The strictest file system that POSIX allows: a file's bytes survive as they were at its last fsync, and a name
/// survives a cut only if its directory was synced since it was made (and is gone only since its removal was).
struct DurabilityModel {
    /// What survives of what was not synced.
    enum Loss: CaseIterable {
        /// Nothing.
        case all
        /// Names do, bytes do not: a file system that commits metadata first. New files are empty.
        case bytes
        /// Names and sizes do, and the bytes are zeros: delayed allocation.
        case zeros
        /// Bytes do, names do not.
        case names
    }

    private struct File {
        var bytes: [UInt8] = []
        var synced: [UInt8] = []
    }

    /// Names in a directory, to inodes.
    private struct Directory {
        var names: [ByteString: Int] = [:]
        var synced: [ByteString: Int] = [:]
    }

    private var files: [Int: File] = [:]
    private var directories: [Int: Directory] = [0: Directory()]
    private var descriptors: [Int: Int] = [:]
    private var next = 1
    let root: ByteString

    /// Begins with what lies below `root`, all of it synced.
    init(root: ByteString) throws {
        self.root = root
        try load(root, into: 0)
    }

    private mutating func load(_ path: ByteString, into inode: Int) throws {
        for entry in try HostFileSystem().list(path) {
            let place = path.appending(entry.name)
            let child = newInode()
            if try HostFileSystem().status(of: place).kind == .directory {
                directories[child] = Directory()
                try load(place, into: child)
            } else {
                let bytes = try readWhole(place)
                files[child] = File(bytes: bytes, synced: bytes)
            }
            directories[inode]?.names[entry.name] = child
        }
        if let names = directories[inode]?.names { directories[inode]?.synced = names }
    }

    private mutating func newInode() -> Int {
        defer { next += 1 }
        return next
    }

    // MARK: - Calls

    /// Applies one call; true when it changed what a cut may leave.
    mutating func apply(_ call: TracedCall) -> Bool {
        switch call.name {
        case "openat": return open(call)
        case "close":
            if let descriptor = call.number(0) { descriptors[descriptor] = nil }
            return false
        case "write": return write(call, append: true)
        case "pwrite64": return write(call, append: false)
        case "ftruncate":
            guard let inode = file(call), let size = call.number(1), var bytes = files[inode]?.bytes else { return false }
            bytes = Array(bytes.prefix(size)) + [UInt8](repeating: 0, count: max(0, size - bytes.count))
            files[inode]?.bytes = bytes
        case "fsync", "fdatasync":
            guard let descriptor = call.number(0), let inode = descriptors[descriptor] else { return false }
            if let bytes = files[inode]?.bytes { files[inode]?.synced = bytes }
            if let names = directories[inode]?.names { directories[inode]?.synced = names }
        case "mkdir":
            guard let (parent, name) = place(call.string(0)) else { return false }
            let inode = newInode()
            directories[inode] = Directory()
            directories[parent]?.names[name] = inode
        case "link": return link(call, removes: false)
        case "rename": return link(call, removes: true)
        case "unlink", "rmdir":
            guard let (parent, name) = place(call.string(0)) else { return false }
            directories[parent]?.names[name] = nil
        default: return false
        }
        return true
    }

    private mutating func open(_ call: TracedCall) -> Bool {
        guard let path = call.string(1), let descriptor = call.result else { return false }
        if path == root {
            descriptors[descriptor] = 0
            return false
        }
        descriptors[descriptor] = nil
        guard let (parent, name) = place(path) else { return false }
        if let known = directories[parent]?.names[name] {
            descriptors[descriptor] = known
            return false
        }
        guard call.text.contains("O_CREAT") else { return false }
        let inode = newInode()
        files[inode] = File()
        directories[parent]?.names[name] = inode
        descriptors[descriptor] = inode
        return true
    }

    private mutating func write(_ call: TracedCall, append: Bool) -> Bool {
        guard let inode = file(call), let data = call.string(1)?.bytes, let count = call.result,
            var bytes = files[inode]?.bytes
        else { return false }
        let offset = append ? bytes.count : call.number(3) ?? 0
        if bytes.count < offset + count { bytes += [UInt8](repeating: 0, count: offset + count - bytes.count) }
        bytes.replaceSubrange(offset..<(offset + count), with: data.prefix(count))
        files[inode]?.bytes = bytes
        return true
    }

    private mutating func link(_ call: TracedCall, removes: Bool) -> Bool {
        guard let from = place(call.string(0)), let to = place(call.string(1)),
            let inode = directories[from.parent]?.names[from.name]
        else { return false }
        directories[to.parent]?.names[to.name] = inode
        if removes { directories[from.parent]?.names[from.name] = nil }
        return true
    }

    private func file(_ call: TracedCall) -> Int? {
        guard let descriptor = call.number(0), let inode = descriptors[descriptor], files[inode] != nil else { return nil }
        return inode
    }

    /// The directory and name of a path below the root.
    private func place(_ path: ByteString?) -> (parent: Int, name: ByteString)? {
        guard let path, path.bytes.starts(with: root.bytes + [UInt8(ascii: "/")]) else { return nil }
        var parts = path.bytes.dropFirst(root.count + 1).split(separator: UInt8(ascii: "/")).map { ByteString(Array($0)) }
        guard let name = parts.popLast() else { return nil }
        var parent = 0
        for part in parts {
            guard let child = directories[parent]?.names[part], directories[child] != nil else { return nil }
            parent = child
        }
        return (parent, name)
    }

    // MARK: - The cut

    /// Everything below the root after a cut, as paths and bytes; nil bytes are a directory.
    func survivors(_ loss: Loss) -> [ByteString: [UInt8]?] {
        var found: [ByteString: [UInt8]?] = [:]
        collect(0, "", loss, &found)
        return found
    }

    private func collect(_ inode: Int, _ path: ByteString, _ loss: Loss, _ found: inout [ByteString: [UInt8]?]) {
        guard let directory = directories[inode] else { return }
        let names = loss == .all || loss == .names ? directory.synced : directory.names
        for (name, child) in names {
            let place = path.appending(name)
            if let file = files[child] {
                let bytes: [UInt8] =
                    switch loss {
                    case .all, .bytes: file.synced
                    case .zeros: file.synced + [UInt8](repeating: 0, count: max(0, file.bytes.count - file.synced.count))
                    case .names: file.bytes
                    }
                found.updateValue(bytes, forKey: place)
            } else {
                found.updateValue(nil, forKey: place)
                collect(child, place, loss, &found)
            }
        }
    }
}
