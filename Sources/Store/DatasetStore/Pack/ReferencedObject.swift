package import Chunking
package import ObjectStore
package import System

/// An object of somebody else's whose bytes a reference pack stands for.
package struct ReferencedObject: Hashable, Sendable {
    /// The name below the source's location: any bytes, 1 to 4096 of them.
    package var key: ByteString
    /// Bytes.
    package var size: UInt64
    package var version: ObjectVersion

    package init(key: ByteString, size: UInt64, version: ObjectVersion) {
        self.key = key
        self.size = size
        self.version = version
    }

    package init(_ object: SourceObject) {
        self.init(key: object.key, size: object.size, version: object.version)
    }

    /// Whether a source table can hold it.
    package var isWithinLimits: Bool {
        let limits = SourceTableFormat.self
        return (1...limits.maximumKeyLength).contains(key.count) && size > 0
            && size <= limits.maximumObjectSize
            && (1...limits.maximumTagLength).contains(version.tag.utf8.count)
            && version.id.map { (1...limits.maximumTagLength).contains($0.utf8.count) } ?? true
    }
}

extension ReferencedObject {
    /// What a manifest records instead of a content hash, which an import does not know: equal where the same version of
    /// the same object is meant.
    package func identity(at location: String) -> ContentHash {
        var bytes = ByteBuilder()
        bytes.reserve(32 + location.utf8.count + key.count + version.tag.utf8.count)
        bytes.u32(UInt32(location.utf8.count))
        bytes.raw(location.utf8)
        bytes.u32(UInt32(key.count))
        bytes.raw(key.bytes)
        bytes.u64(size)
        bytes.u32(UInt32(version.tag.utf8.count))
        bytes.raw(version.tag.utf8)
        bytes.u32(UInt32(version.id?.utf8.count ?? 0))
        bytes.raw((version.id ?? "").utf8)
        return ContentHash.of(.foreignObject, bytes.bytes)
    }
}
