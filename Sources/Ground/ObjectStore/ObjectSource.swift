package import System

/// Which bytes an object had when it was listed.
package struct ObjectVersion: Hashable, Sendable {
    /// The store's tag for the bytes, without quotes: an ETag, or for a file what `FileObjectSource` makes of its status.
    package var tag: String
    /// The version id in a bucket that keeps old versions.
    package var id: String?

    package init(tag: String, id: String? = nil) {
        self.tag = tag
        self.id = id
    }
}

/// An object of somebody else's, as a listing tells it.
package struct SourceObject: Hashable, Sendable {
    /// Any bytes: the name as the source knows it, below the source's own prefix.
    package var key: ByteString
    /// Bytes.
    package var size: UInt64
    package var modified: Timestamp
    package var version: ObjectVersion
    /// Whether the source says that the bytes lie in an archive, from which somebody must restore them first.
    package var isArchived: Bool

    package init(
        key: ByteString, size: UInt64, modified: Timestamp, version: ObjectVersion, isArchived: Bool = false
    ) {
        self.key = key
        self.size = size
        self.modified = modified
        self.version = version
        self.isArchived = isArchived
    }
}

/// Objects that lie in somebody's bucket or directory and may change there: what an import refers to.
///
/// Every call blocks its thread; calls may come from many threads at once.
package protocol ObjectSource: Sendable {
    /// The source's URL, as it is recorded in snapshots and shown to people; no secrets.
    var location: String { get }

    /// Calls `body` for each object, in the byte order of keys, until it returns false.
    func list(_ body: (SourceObject) throws(ObjectStoreError) -> Bool) throws(ObjectStoreError)

    /// Hands `range` of the object's bytes to `body`, in order, in pieces valid for the call, until it returns false.
    /// Throws `.changed` when the object is no longer of this version: never bytes of another one.
    func read(
        _ key: ByteString, _ version: ObjectVersion, _ range: Range<UInt64>,
        _ body: (UnsafeRawBufferPointer) throws(ObjectStoreError) -> Bool
    ) throws(ObjectStoreError)

    /// The object as it is now; nil when there is none.
    func find(_ key: ByteString) throws(ObjectStoreError) -> SourceObject?
}

extension ObjectSource {
    /// For sources that have no better way than to list.
    package func find(_ key: ByteString) throws(ObjectStoreError) -> SourceObject? {
        var found: SourceObject?
        try list { object throws(ObjectStoreError) in
            if object.key == key { found = object }
            return object.key < key
        }
        return found
    }
}

/// Finds the source that a snapshot's reference packs name.
package protocol ObjectSources: Sendable {
    /// The source of this URL. Throws `.permissionDenied` for one that this process may not be sent to by a manifest.
    func source(_ location: String) throws(ObjectStoreError) -> any ObjectSource
    /// The same, for a manifest of this store: a program that serves several stores judges by whose it is.
    func source(
        _ location: String, namedIn store: any ObjectStore
    ) throws(ObjectStoreError) -> any ObjectSource
}

extension ObjectSources {
    package func source(
        _ location: String, namedIn store: any ObjectStore
    ) throws(ObjectStoreError) -> any ObjectSource {
        try source(location)
    }
}

/// For programs that serve no reference packs.
package struct NoObjectSources: ObjectSources {
    package init() {}

    package func source(_ location: String) throws(ObjectStoreError) -> any ObjectSource {
        throw ObjectStoreError(
            .notSupported, .open, key: "", location: location, detail: "this program reads no imported data")
    }
}
