import DatasetStore
import NodeCache
package import System

/// Which files the kernel may read by itself.
extension DatasetFS {
    /// Passthrough needs one local file that is the whole file, byte for byte: a large file whose extents all
    /// lie at their own offsets in one container that is complete and verified, and that has no chunk in its holes.
    package func open(_ inode: Inode) throws(Errno) -> OpenDecision {
        let place = try place(of: inode)
        let record = place.record
        if record.kind == .directory { throw .isDirectory }
        guard let pack = wholeContainer(place, record) else { return .cached }
        guard let known = try unsafe vouchedContainer(place, pack)?.takeUnretainedValue() else {
            return .cached
        }
        let container = known.hasDisk ? known : try container(place, pack)
        guard container.isComplete, container.pack.containerSize == record.size else { return .cached }
        // What was read through this mount is in its page cache; the container's may have to read it from the disk.
        if container.mountsHaveIt {
            // Read again, so that it is worth having it there.
            cache.bringIntoPageCache(container)
            return .cached
        }
        do throws(CacheError) { return .passthrough(descriptor: try container.lend()) } catch {
            notice("\(name) \(path(of: place)): served without passthrough: \(error)")
            return .cached
        }
    }

    package func release(_ inode: Inode, passthrough: Bool) {
        guard passthrough, let place = try? place(of: inode), let pack = wholeContainer(place, place.record),
            let handle = try? unsafe vouchedContainer(place, pack)
        else { return }
        unsafe handle._withUnsafeGuaranteedRef { $0.takeBack() }
    }

    /// More extents than this are not looked through at every open.
    private static let extentLimit = 64

    /// The one pack all of whose chunks are the file's, at their own offsets. A file that has a hole where the
    /// pack has a chunk (an earlier version had bytes there) is not its container.
    private func wholeContainer(_ place: Snapshot.Place, _ record: RecordView) -> Int? {
        guard record.kind == .extents, record.extents.count <= Self.extentLimit else { return nil }
        let view = unsafe place.shard.pointee.view
        var only: Int?
        var nextChunk: UInt32 = 0
        for index in record.extents {
            let extent = view.extent(index)
            guard let pack = extent.pack else { continue }
            guard extent.containerOffset == extent.fileOffset, only == nil || only == pack,
                extent.firstChunk == nextChunk
            else { return nil }
            only = pack
            nextChunk += extent.chunkCount
        }
        guard let only else { return nil }
        let pack = view.pack(only)
        return pack.layout == .file && pack.chunkCount == nextChunk ? only : nil
    }
}
