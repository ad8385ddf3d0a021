import Chunking
package import System

extension Snapshot {
    /// Calls `body` with every entry below a directory, all levels, in order; the directory itself is left out.
    /// `path` is its key path, empty for the root. One shard is in memory at a time.
    package func walk(
        below path: ByteString, _ body: (_ view: ShardView, _ index: Int) throws(StoreError) -> Void
    ) throws(StoreError) {
        var shard = firstShard(of: path)
        while shard < root.shardCount {
            let (view, image) = try readShard(shard)
            let isOver = try walk(view, below: path, body)
            withExtendedLifetime(image) {}
            if isOver { return }
            shard += 1
        }
    }

    private func firstShard(of path: ByteString) -> Int {
        unsafe path.bytes.withUnsafeBytes { path in
            unsafe root.shardIndex(directory: path, name: UnsafeRawBufferPointer(start: nil, count: 0))
        }
    }

    /// True when what follows cannot lie below `path` any more.
    private func walk(
        _ view: ShardView, below path: ByteString, _ body: (ShardView, Int) throws(StoreError) -> Void
    ) throws(StoreError) -> Bool {
        for group in 0..<view.directoryCount {
            let directory = unsafe view.directoryPath(group)
            switch unsafe Self.place(of: directory, below: path) {
            case .before: continue
            case .after: return true
            case .inside: break
            }
            for index in view.directoryRecords(group)
            where unsafe !(directory.isEmpty && view.record(index).name.isEmpty) {
                try body(view, index)
            }
        }
        return false
    }

    private enum Relation { case before, inside, after }

    /// NUL sorts below all else, so a directory and all below it are one run.
    private static func place(of directory: UnsafeRawBufferPointer, below path: ByteString) -> Relation {
        if path.isEmpty { return .inside }
        return unsafe path.bytes.withUnsafeBytes { path in
            if directory.count >= path.count,
                unsafe UnsafeRawBufferPointer(rebasing: directory[..<path.count]).elementsEqual(path)
            {
                return unsafe directory.count == path.count || directory[path.count] == 0 ? .inside : .after
            }
            return unsafe KeyOrder.compare(directory, path) < 0 ? .before : .after
        }
    }

    /// The entry at a path with slashes, as people type it: empty parts and `.` are skipped.
    ///
    /// - Throws: `.notFound`; `.invalidInput` for `..`, which a snapshot's names cannot hold.
    package func entry(at path: ByteString) throws(StoreError) -> ManifestEntry {
        let parts = path.bytes.split(separator: UInt8(ascii: "/")).filter { !$0.elementsEqual(".".utf8) }
        if parts.contains(where: { $0.elementsEqual("..".utf8) }) {
            throw StoreError(.invalidInput, "a path in a snapshot has no \"..\"", path: path.description)
        }
        let found: Place?
        if let name = parts.last {
            let directory = Array(parts.dropLast().joined(separator: [0]))
            found = try place(directory: directory, name: Array(name))
        } else {
            found = try place(ofOrdinal: 0)
        }
        guard let found else {
            throw StoreError(
                .notFound, "there is no such path in the snapshot", snapshot: id.hex, path: path.description)
        }
        return unsafe found.shard.pointee.view.entry(found.index)
    }

    /// The entry that a hard link stands for; other entries stand for themselves.
    package func resolve(_ entry: ManifestEntry) throws(StoreError) -> ManifestEntry {
        guard case .hardLink = entry.contents else { return entry }
        guard let place = try place(directory: entry.directory.bytes, name: entry.name.bytes) else {
            return entry
        }
        let target = try resolve(place)
        return unsafe target.shard.pointee.view.entry(target.index)
    }

    /// The entries of one directory, in the order of their names.
    package func entries(of directory: ManifestEntry) throws(StoreError) -> [ManifestEntry] {
        let path = directory.keyPath
        let outcome = unsafe path.bytes.withUnsafeBytes { path in
            Result { () throws(StoreError) in try unsafe children(of: path) }
        }
        var entries: [ManifestEntry] = []
        for ordinal in try outcome.get() {
            // The root is an entry of the empty path as well, but not of itself.
            guard let place = try place(ofOrdinal: ordinal), unsafe !place.record.name.isEmpty else {
                continue
            }
            unsafe entries.append(place.shard.pointee.view.entry(place.index))
        }
        return entries
    }

    private func place(directory: [UInt8], name: [UInt8]) throws(StoreError) -> Place? {
        let outcome = unsafe directory.withUnsafeBytes { directory in
            unsafe name.withUnsafeBytes { name in
                Result { () throws(StoreError) in try unsafe place(directory: directory, name: name) }
            }
        }
        return try outcome.get()
    }
}
