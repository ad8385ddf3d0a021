import Chunking
import ObjectStore

/// Makes a reference pack: a pack without frames whose chunks' bytes lie in objects of somebody else's.
///
/// Pure until `publish`, so that many can be published side by side.
package struct ReferencePackBuilder: Sendable {
    package let id: PackID
    package let layout: PackLayout
    private var footer: PackFooterBuilder
    private var sources: SourceTableBuilder
    private var sizes: [UInt64] = []

    /// `location` names the source of all objects, as `ObjectSource.location`.
    package init(id: PackID, layout: PackLayout, location: String) {
        self.id = id
        self.layout = layout
        footer = PackFooterBuilder(id: id, layout: layout)
        sources = SourceTableBuilder(location: location)
    }

    package var chunkCount: UInt32 { footer.chunkCount }
    package var objectCount: UInt32 { sources.count }
    /// Bytes of the container so far.
    package var containerSize: UInt64 { footer.containerSize }
    /// Bytes of the source table so far.
    package var tableLength: Int { sources.byteCount }

    /// Adds a small object whole, as one chunk in the next slot.
    package mutating func append(_ object: ReferencedObject) -> (chunk: UInt32, entry: ChunkEntry) {
        let index = sources.append(object)
        let entry = ChunkEntry(
            hash: .zero, frameOffset: 0, containerOffset: footer.nextSlot,
            storedLength: UInt32(truncatingIfNeeded: object.size),
            plainLength: UInt32(truncatingIfNeeded: object.size), codec: .reference, base: nil, object: index)
        footer.append(entry)
        return (footer.chunkCount - 1, entry)
    }

    /// Adds a part of a large object, in chunks of `chunkLength` bytes (the last one may be shorter), each at its place
    /// in the part.
    package mutating func append(_ object: ReferencedObject, part: Range<UInt64>, chunkLength: UInt32) {
        let index = sources.append(object)
        var offset = part.lowerBound
        while offset < part.upperBound {
            let length = UInt32(min(UInt64(chunkLength), part.upperBound - offset))
            footer.append(
                ChunkEntry(
                    hash: .zero, frameOffset: offset, containerOffset: offset - part.lowerBound,
                    storedLength: length, plainLength: length, codec: .reference, base: nil, object: index))
            offset += UInt64(length)
        }
    }

    /// The pack's bytes and the reference to it, looked at as every reader will.
    ///
    /// - Throws: `.invalidInput` when no reader would take it: a text too long, or too many objects.
    package func finish() throws(StoreError) -> (bytes: [UInt8], pack: PackReference) {
        let header = PackFormat.header(of: id)
        let (footer, pack) = footer.finish(frameEnd: UInt64(header.count), sources: sources.finish())
        let outcome = unsafe footer.withUnsafeBytes { bytes in
            Result { () throws(StoreError) in _ = try unsafe PackFooter(bytes, of: pack) }
        }
        if !pack.isWithinLimits || (try? outcome.get()) == nil {
            throw StoreError(
                .invalidInput,
                "the references to \(objectCount) objects would be a pack that no reader takes",
                object: pack.key.text, remedy: "Give the source by a shorter URL, or import a part of it")
        }
        return (header + footer, pack)
    }
}
