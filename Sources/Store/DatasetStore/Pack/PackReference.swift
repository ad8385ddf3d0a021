package import Chunking
package import ObjectStore
package import System

/// The name of a pack and of its container: 16 random bytes, never used again.
package struct PackID: Hashable, Sendable, Comparable, CustomStringConvertible {
    package var high: UInt64
    package var low: UInt64

    package static let byteCount = 16

    package init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    package init(random: some RandomSource) {
        let bytes = random.bytes(Self.byteCount)
        self = unsafe bytes.withUnsafeBytes { bytes in
            unsafe PackID(
                high: UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 0, as: UInt64.self)),
                low: UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)))
        }
    }

    /// Reads 16 bytes; the caller has checked the bounds.
    init(loading bytes: UnsafeRawPointer) {
        high = unsafe UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 0, as: UInt64.self))
        low = unsafe UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
    }

    /// Exactly 32 hexadecimal digits, or nil.
    package init?(hex: String) {
        guard let bytes = Hex.decode(hex), bytes.count == Self.byteCount else { return nil }
        self = unsafe bytes.withUnsafeBytes { bytes in
            unsafe PackID(
                high: UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 0, as: UInt64.self)),
                low: UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)))
        }
    }

    package var bytes: [UInt8] {
        unsafe withUnsafeBytes(of: (high.bigEndian, low.bigEndian)) { unsafe Array($0) }
    }

    package var description: String { Hex.encode(bytes) }

    package static func < (left: PackID, right: PackID) -> Bool {
        (left.high, left.low) < (right.high, right.low)
    }
}

/// Everything a node must know of a pack before it has read a byte of it.
///
/// 80 bytes: id 16, footer hash 32, object size u64, container size u64, footer length u32, chunk count u32,
/// layout u32, zero u32.
package struct PackReference: Hashable, Sendable {
    package static let byteCount = 80

    package var id: PackID
    package var footerHash: ContentHash
    /// Bytes of the whole store object.
    package var objectSize: UInt64
    /// Bytes of the container: the sparse, uncompressed twin of the pack.
    package var containerSize: UInt64
    /// Bytes of the footer with its trailer, at the end of the object.
    package var footerLength: UInt32
    package var chunkCount: UInt32
    package var layout: PackLayout

    package init(
        id: PackID, footerHash: ContentHash, objectSize: UInt64, containerSize: UInt64, footerLength: UInt32,
        chunkCount: UInt32, layout: PackLayout
    ) {
        self.id = id
        self.footerHash = footerHash
        self.objectSize = objectSize
        self.containerSize = containerSize
        self.footerLength = footerLength
        self.chunkCount = chunkCount
        self.layout = layout
    }

    /// Nil when a field is out of the format's range. `bytes` holds at least 80 bytes.
    init?(loading bytes: UnsafeRawPointer) {
        guard let layout = unsafe PackLayout(rawValue: bytes.u32(72)), unsafe bytes.u32(76) == 0 else {
            return nil
        }
        id = unsafe PackID(loading: bytes)
        footerHash = unsafe ContentHash(loading: bytes + 16)
        objectSize = unsafe bytes.u64(48)
        containerSize = unsafe bytes.u64(56)
        footerLength = unsafe bytes.u32(64)
        chunkCount = unsafe bytes.u32(68)
        self.layout = layout
        guard isWithinLimits else { return nil }
    }

    func append(to builder: inout ByteBuilder) {
        builder.raw(id.bytes)
        builder.raw(footerHash.bytes)
        builder.u64(objectSize)
        builder.u64(containerSize)
        builder.u32(footerLength)
        builder.u32(chunkCount)
        builder.u32(layout.rawValue)
        builder.u32(0)
    }

    /// Whether every length is one that a parser may believe before it allocates.
    package var isWithinLimits: Bool { PackFormat.limits.allow(self) }

    /// Whether it is a reference pack: it has no frames, only a footer that says which foreign objects have its chunks.
    package var holdsReferences: Bool { objectSize == UInt64(footerLength) + UInt64(PackFormat.headerLength) }

    package var key: ObjectKey { PackFormat.key(of: id) }
}

/// How a pack's chunks lie in its container.
package enum PackLayout: UInt32, Sendable {
    /// Small files side by side, each at the next multiple of 4 KiB.
    case slots = 1
    /// One large file, each chunk at its own offset in the file: the container is the file, byte for byte.
    case file = 2
}
