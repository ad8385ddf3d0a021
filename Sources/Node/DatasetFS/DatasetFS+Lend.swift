import DatasetStore
package import NodeCache
package import System

/// A run of a file that lies in one container, all of whose chunks are present and verified.
@safe package struct LendableRun {
    /// Kept by the cache as long as it lives.
    package let container: Unmanaged<Container>
    /// In the container's file.
    package let offset: UInt64
}

/// What a feed asks, beside what a mount does.
extension DatasetFS {
    /// Where a run of a file (more than 0 bytes, within the file) can be read in place; nil when it lies in several
    /// pieces, or in a container of which something is missing. No lock, no allocation.
    package func lendable(_ inode: Inode, offset: UInt64, length: UInt64) throws(Errno) -> LendableRun? {
        let place = try place(of: inode)
        let record = place.record
        guard offset < record.size, length <= record.size - offset else { return nil }
        switch record.kind {
        case .chunk:
            return try lendable(place, record.pack, record.containerOffset + offset)
        case .extents:
            let view = unsafe place.shard.pointee.view
            let extents = record.extents
            var low = extents.lowerBound
            var high = extents.upperBound
            while high - low > 1 {
                let middle = (low + high) / 2
                if view.extent(middle).fileOffset <= offset { low = middle } else { high = middle }
            }
            guard low < extents.upperBound else { return nil }
            let extent = view.extent(low)
            guard let pack = extent.pack, extent.fileOffset <= offset else { return nil }
            let skipped = offset - extent.fileOffset
            guard skipped < extent.length, length <= extent.length - skipped else { return nil }
            return try lendable(place, pack, extent.containerOffset + skipped)
        case .directory, .empty, .symlink, .hardLink: return nil
        }
    }

    private func lendable(
        _ place: Snapshot.Place, _ pack: Int, _ offset: UInt64
    ) throws(Errno) -> LendableRun? {
        // What lies in an encrypted container says nothing to a pod.
        guard !cache.isSealed, let container = try unsafe vouchedContainer(place, pack),
            unsafe container._withUnsafeGuaranteedRef({ $0.isComplete && $0.hasDisk })
        else { return nil }
        return unsafe LendableRun(container: container, offset: offset)
    }

    /// The file that an entry stands for: itself, or what a hard link leads to.
    package func file(of inode: Inode) throws(Errno) -> Inode {
        Inode(rawValue: try resolved(try place(of: inode)).ordinal + 1)
    }

    /// The entry's path, for people.
    package func describe(_ inode: Inode) -> ByteString {
        guard let place = try? place(of: inode) else { return "" }
        return path(of: place)
    }
}
