import Chunking
import DatasetStore
import NodeCache
package import System

/// Extended attributes: the dataset's own `user.*`, and `user.kaml.*` about the entry itself, which can be
/// read by name but are not listed, so that copying a tree does not carry them along.
extension DatasetFS {
    package func extendedAttribute(
        _ name: UnsafeRawBufferPointer, of inode: Inode, _ body: (UnsafeRawBufferPointer) -> Void
    ) throws(Errno) {
        let place = try place(of: inode)
        if unsafe Self.isReserved(name) {
            guard let value = unsafe kamlAttribute(ByteString(name), place) else { throw .noData }
            return unsafe Array(value.utf8).withUnsafeBytes(body)
        }
        for attribute in place.record.attributes where unsafe attribute.name.bytes.elementsEqual(name) {
            return unsafe attribute.value.withUnsafeBytes(body)
        }
        throw .noData
    }

    package func extendedAttributeNames(
        of inode: Inode, _ body: (UnsafeRawBufferPointer) -> Void
    ) throws(Errno) {
        let record = try place(of: inode).record
        guard record.hasAttributes else { return unsafe body(UnsafeRawBufferPointer(start: nil, count: 0)) }
        var names: [UInt8] = []
        for attribute in record.attributes
        where unsafe !attribute.name.bytes.withUnsafeBytes(unsafe Self.isReserved) {
            names += attribute.name.bytes
            names.append(0)
        }
        unsafe names.withUnsafeBytes(body)
    }

    /// `user.kaml.*` says what the mount knows; what a source tree carried under such a name is not shown.
    private static func isReserved(_ name: UnsafeRawBufferPointer) -> Bool {
        unsafe name.starts(with: "user.kaml.".utf8)
    }

    private func kamlAttribute(_ name: ByteString, _ place: Snapshot.Place) -> String? {
        switch name {
        case "user.kaml.snapshot": snapshot.id.hex
        case "user.kaml.dataset": self.name
        case "user.kaml.hash":
            contentHash(place)?.hex
        case "user.kaml.cached": cachedBytes(place).map { String($0) }
        default: nil
        }
    }

    /// Of a file with bytes, unless they lie in an object of somebody else's.
    private func contentHash(_ place: Snapshot.Place) -> ContentHash? {
        let record = place.record
        guard record.kind == .chunk || record.kind == .extents,
            unsafe !place.shard.pointee.view.isReference(record)
        else { return nil }
        return record.hash
    }

    /// How many of a file's bytes this node holds; nil for what is no file.
    private func cachedBytes(_ place: Snapshot.Place) -> UInt64? {
        let record = place.record
        switch record.kind {
        case .empty: return 0
        case .chunk:
            let isPresent = (try? container(place, record.pack))?.isPresent(Int(record.chunk))
            return isPresent == true ? record.size : 0
        case .extents:
            let view = unsafe place.shard.pointee.view
            return record.extents.reduce(0) { $0 + presentBytes(place, view.extent($1)) }
        default: return nil
        }
    }

    private func presentBytes(_ place: Snapshot.Place, _ extent: ExtentView) -> UInt64 {
        guard let pack = extent.pack,
            let container = try? container(place, pack)
        else { return 0 }
        guard container.enter() else { return 0 }
        defer { container.leave() }
        if container.isComplete { return extent.length }
        guard container.presentBytes() > 0, let footer = container.localFooter() else { return 0 }
        var bytes: UInt64 = 0
        for chunk in Int(extent.firstChunk)..<Int(extent.firstChunk + extent.chunkCount)
        where chunk < footer.chunkCount && container.isPresent(chunk) {
            bytes += UInt64(footer[chunk].plainLength)
        }
        return min(bytes, extent.length)
    }
}
