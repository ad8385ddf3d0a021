package import DatasetStore
package import NodeCache
package import ObjectStore
package import System

/// One snapshot as a read-only file system: inode numbers in, attributes and bytes out.
///
/// Nothing is kept for an inode. A number is the entry's ordinal plus one, attributes come from the mapped
/// manifest, bytes from the node cache's containers; all three are shared by every mount of the node.
///
/// A read walks: ordinal -> record -> (pack, chunk) -> container -> present? -> the mapping's bytes. A hit takes
/// no lock, allocates nothing and counts no reference; a miss goes to `NodeCache.fetch`.
package final class DatasetFS: InodeOperations {
    let snapshot: Snapshot
    let cache: NodeCache
    /// The store that the snapshot's packs lie in.
    package let origin: any ObjectStore
    let tenant: CacheTenant
    /// `dataset@ref`, for messages and `user.kaml.dataset`.
    let name: String
    let notice: @Sendable (String) -> Void
    private let repeated: RepeatedNotices
    let waitingReads: WaitingReads
    let zeros: ZeroPages

    /// `notice` takes one line for the log about a read that failed.
    package init(
        _ snapshot: Snapshot, name: String, cache: NodeCache, origin: any ObjectStore,
        clock: any Clock = HostClock(),
        notice: @escaping @Sendable (String) -> Void
    ) throws(Errno) {
        self.snapshot = snapshot
        self.name = name
        self.cache = cache
        // All versions of a dataset share what they have in common, and a share of the cache.
        tenant = cache.tenant(named: String(name.prefix { $0 != "@" }))
        self.origin = origin
        self.notice = notice
        repeated = RepeatedNotices(clock)
        waitingReads = WaitingReads(clock, dataset: name)
        zeros = try ZeroPages()
    }

    package var totals: FileSystemTotals {
        FileSystemTotals(bytes: snapshot.statistics.bytes, entries: snapshot.statistics.entries)
    }

    package var oldestWaitingRead: UInt64? { waitingReads.oldest }

    // MARK: - From numbers to entries

    @inline(__always)
    func place(of inode: Inode) throws(Errno) -> Snapshot.Place {
        guard inode.rawValue > 0 else { throw .stale }
        do throws(StoreError) {
            if let place = try snapshot.place(ofOrdinal: inode.rawValue - 1) { return place }
        } catch {
            throw report(error, at: nil)
        }
        throw .stale
    }

    func attributes(of place: Snapshot.Place) -> NodeAttributes {
        let record = place.record
        return NodeAttributes(
            inode: Inode(rawValue: place.ordinal + 1), mode: record.mode, linkCount: record.linkCount,
            userID: record.userID, groupID: record.groupID, size: record.size, modified: record.modified)
    }

    func resolved(_ place: Snapshot.Place) throws(Errno) -> Snapshot.Place {
        do throws(StoreError) { return try snapshot.resolve(place) } catch { throw report(error, at: place) }
    }

    /// Logs what lies behind an errno, with the path that it hurts, and gives the errno. The same error is one line in
    /// ten seconds, whatever paths it hurts.
    func report(_ error: some Error, at place: Snapshot.Place?) -> Errno {
        let text = "\(error)"
        if let count = repeated.repetitions(of: text) {
            let path = place.map { " \(self.path(of: $0))" } ?? ""
            notice("\(name)\(path): \(text)" + (count > 0 ? " (repeated \(count) times before)" : ""))
        }
        return .inputOutput
    }

    /// The path for people, from the mount's root.
    func path(of place: Snapshot.Place) -> ByteString {
        let view = unsafe place.shard.pointee.view
        let entry = view.entry(place.index)
        return ByteString("/").appending(ManifestEntry.displayPath(keyPath: entry.keyPath))
    }

    /// Calls `body` with the key path (components joined by NUL) of a directory, mostly without a copy.
    func withKeyPath<Result>(
        of place: Snapshot.Place, _ body: (UnsafeRawBufferPointer) throws(Errno) -> Result
    ) throws(Errno) -> Result {
        let view = unsafe place.shard.pointee.view
        let record = view.record(place.index)
        let parent = unsafe view.directoryPath(record.directory)
        let name = unsafe record.name
        if unsafe parent.isEmpty { return try unsafe body(name) }
        let count = parent.count + 1 + name.count
        // Up to 1 KiB this is the stack; longer paths are rare and pay for a heap buffer.
        let outcome = unsafe withUnsafeTemporaryAllocation(byteCount: count, alignment: 8) { buffer in
            unsafe buffer.copyMemory(from: parent)
            unsafe buffer[parent.count] = 0
            unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[(parent.count + 1)...]).copyMemory(
                from: name)
            return Swift.Result { () throws(Errno) in try unsafe body(UnsafeRawBufferPointer(buffer)) }
        }
        return try outcome.get()
    }
}
