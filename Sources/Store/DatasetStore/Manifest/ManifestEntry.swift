package import Chunking
package import System

/// One entry of a snapshot as commit hands it to the manifest writer, and as tools read it back.
package struct ManifestEntry: Sendable, Hashable {
    /// Components of the parent directory's path, joined by NUL; empty for entries of the root, and for the
    /// root itself. NUL sorts below every byte a name can hold, so byte order is the order of a tree walk.
    package var directory: ByteString
    /// The last component; empty only for the root.
    package var name: ByteString
    /// Type and permission bits, as in `st_mode`.
    package var mode: UInt32
    package var userID: UInt32
    package var groupID: UInt32
    package var modified: Timestamp
    package var size: UInt64
    /// How many entries of the snapshot share this one's inode; 1 for directories.
    package var linkCount: UInt32
    package var contents: Contents
    /// `user.*` attributes, sorted by name.
    package var attributes: [ExtendedAttribute]

    package init(
        directory: ByteString, name: ByteString, mode: UInt32, userID: UInt32, groupID: UInt32,
        modified: Timestamp, size: UInt64, linkCount: UInt32 = 1, contents: Contents,
        attributes: [ExtendedAttribute] = []
    ) {
        self.directory = directory
        self.name = name
        self.mode = mode
        self.userID = userID
        self.groupID = groupID
        self.modified = modified
        self.size = size
        self.linkCount = linkCount
        self.contents = contents
        self.attributes = attributes
    }

    package enum Contents: Sendable, Hashable {
        case directory
        /// A file with no bytes.
        case empty
        /// A file of one chunk in a `.slots` pack, with all that a cold read needs.
        case chunk(SmallFile)
        /// A large file; `hash` is over its (chunk hash, plain length) list, or, where the extents lie in reference packs,
        /// the object's identity.
        case extents(hash: ContentHash, [Extent])
        case symlink(target: ByteString)
        /// Another name of the entry at this key path (directory NUL name).
        case hardLink(target: ByteString)
    }

    package struct SmallFile: Sendable, Hashable {
        package var pack: PackReference
        package var entry: ChunkEntry
        package var chunk: UInt32
        /// Of a reference: `ReferencedObject.identity`.
        package var identity: ContentHash?

        package init(pack: PackReference, chunk: UInt32, entry: ChunkEntry, identity: ContentHash? = nil) {
            self.pack = pack
            self.chunk = chunk
            self.entry = entry
            self.identity = identity
        }
    }

    /// A run of a file's bytes: neighbouring chunks of a pack, or a hole.
    package struct Extent: Sendable, Hashable {
        package var fileOffset: UInt64
        package var length: UInt64
        /// Nil for a hole, which reads as zeros.
        package var source: Source?

        package struct Source: Sendable, Hashable {
            package var pack: PackReference
            package var firstChunk: UInt32
            package var chunkCount: UInt32
            /// Where the run starts in the pack's container; it is contiguous there.
            package var containerOffset: UInt64
            package init(pack: PackReference, firstChunk: UInt32, chunkCount: UInt32, containerOffset: UInt64)
            {
                self.pack = pack
                self.firstChunk = firstChunk
                self.chunkCount = chunkCount
                self.containerOffset = containerOffset
            }
        }

        package init(fileOffset: UInt64, length: UInt64, source: Source?) {
            self.fileOffset = fileOffset
            self.length = length
            self.source = source
        }
    }

    /// Whether the bytes lie in an object of somebody else's, so that their hash is not known.
    package var isReference: Bool {
        switch contents {
        case .chunk(let file): file.pack.holdsReferences
        case .extents(_, let extents): extents.first?.source?.pack.holdsReferences == true
        case .directory, .empty, .symlink, .hardLink: false
        }
    }

    /// `directory` NUL `name`: the entry's place in the sort order, and the parent path of its children.
    package var keyPath: ByteString { Self.keyPath(directory: directory, name: name) }

    package static func keyPath(directory: ByteString, name: ByteString) -> ByteString {
        directory.isEmpty ? name : ByteString(directory.bytes + [0] + name.bytes)
    }

    /// The path for people, with slashes.
    package static func displayPath(keyPath: ByteString) -> ByteString {
        ByteString(keyPath.bytes.map { $0 == 0 ? UInt8(ascii: "/") : $0 })
    }
}

/// A `user.*` extended attribute.
package struct ExtendedAttribute: Sendable, Hashable {
    package var name: ByteString
    package var value: [UInt8]
    package init(name: ByteString, value: [UInt8]) {
        self.name = name
        self.value = value
    }

    /// Whether the name is kaml's own (`user.kaml.*`): never taken from files, never given to any.
    package var isReserved: Bool { name.bytes.starts(with: "user.kaml.".utf8) }
}

/// What a record's contents are; the raw values are the format's.
package enum EntryKind: UInt8, Sendable {
    case directory = 1
    case empty = 2
    case chunk = 3
    case extents = 4
    case symlink = 5
    case hardLink = 6
}
