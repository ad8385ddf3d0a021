import Chunking
import DatasetStore
import Glibc
import System

/// A decompressed manifest image in a file: the image, zeros up to a multiple of 8, a shard's lookup slots, and
/// a trailer.
///
/// Trailer, 64 bytes: magic 8, version u32, object kind u32, image length u64, slot count u64, SHA-256 of the slots
/// 32. The image's own hash is the file's name. Both are checked whenever the file is opened, so it needs no fsync.
enum ManifestFile {
    private static let magic: StaticString = "KAMLCMAN"
    private static let version: UInt32 = 1
    private static let trailerLength = 64

    static func encode(
        _ kind: ObjectKind, _ image: UnsafeRawBufferPointer, slots: UnsafeBufferPointer<UInt64>
    ) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(image.count + 8 + slots.count * 8 + trailerLength)
        unsafe bytes.append(contentsOf: image)
        bytes.append(contentsOf: repeatElement(0, count: padded(image.count) - image.count))
        unsafe bytes.append(contentsOf: UnsafeRawBufferPointer(slots))
        unsafe bytes.append(contentsOf: UnsafeBufferPointer(start: magic.utf8Start, count: 8))
        bytes.appendLittleEndian(version)
        bytes.appendLittleEndian(UInt32(kind.rawValue))
        bytes.appendLittleEndian(UInt64(image.count))
        bytes.appendLittleEndian(UInt64(slots.count))
        unsafe bytes.append(contentsOf: ContentHash.of(.manifestShard, UnsafeRawBufferPointer(slots)).bytes)
        return bytes
    }

    /// The mapped image; nil when the file is not there or not what it must be.
    static func open(
        _ kind: ObjectKind, _ id: ContentHash, _ path: ByteString, _ files: any FileSystem,
        _ sealing: CacheSealing? = nil
    ) -> MappedImage? {
        guard let file = try? files.open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK),
            let status = try? files.status(of: file), status.kind == .regular,
            let length = Int(exactly: status.size), length >= trailerLength, length <= 2 << 30
        else { return nil }
        if let sealing {
            guard let region = sealing.file.region(file, length: length, for: purpose(id), files) else {
                return nil
            }
            return image(region, kind, id)
        }
        guard let region = try? MappedRegion(file, length: length) else { return nil }
        // Brings the pages in with an error, not a SIGBUS, where the disk fails (MADV_POPULATE_READ is 22).
        // Kernels before 5.14 do not know it (EINVAL).
        if unsafe madvise(UnsafeMutableRawPointer(mutating: region.bytes.baseAddress), length, 22) != 0,
            Errno.last != .invalid
        {
            return nil
        }
        return image(region, kind, id)
    }

    /// What sealed files of manifests are sealed for.
    static func purpose(_ id: ContentHash) -> String { "manifest \(id.hex)" }

    /// Nil unless the file's bytes are what they must be.
    private static func image(
        _ region: consuming MappedRegion, _ kind: ObjectKind, _ id: ContentHash
    ) -> MappedImage? {
        guard unsafe region.bytes.count >= trailerLength,
            let parts = unsafe parts(kind, region.bytes), unsafe ContentHash.of(kind, parts.image) == id
        else {
            return nil
        }
        return unsafe MappedImage(region, parts.image, parts.slots)
    }

    private static func padded(_ count: Int) -> Int { (count + 7) & ~7 }

    private static func parts(
        _ kind: ObjectKind, _ bytes: UnsafeRawBufferPointer
    ) -> (image: UnsafeRawBufferPointer, slots: UnsafeBufferPointer<UInt64>)? {
        guard let start = bytes.baseAddress else { return nil }
        let trailer = unsafe start + (bytes.count - trailerLength)
        for index in 0..<8
        where unsafe trailer.load(fromByteOffset: index, as: UInt8.self) != magic.utf8Start[index] {
            return nil
        }
        guard unsafe trailer.littleEndian(8, as: UInt32.self) == version,
            unsafe trailer.littleEndian(12, as: UInt32.self) == UInt32(kind.rawValue),
            let imageLength = unsafe Int(exactly: trailer.littleEndian(16, as: UInt64.self)),
            imageLength <= bytes.count,
            let slotCount = unsafe Int(exactly: trailer.littleEndian(24, as: UInt64.self)),
            slotCount <= bytes.count / 8,
            padded(imageLength) + slotCount * 8 + trailerLength == bytes.count,
            // The lookup masks with the count, and ends at an empty slot.
            kind != .manifestShard || (slotCount > 0 && slotCount & (slotCount - 1) == 0)
        else { return nil }
        let slots = unsafe UnsafeBufferPointer(
            start: (start + padded(imageLength)).assumingMemoryBound(to: UInt64.self), count: slotCount)
        guard
            unsafe ContentHash.of(.manifestShard, UnsafeRawBufferPointer(slots))
                == ContentHash(loading: trailer + 32)
        else {
            return nil
        }
        return unsafe (UnsafeRawBufferPointer(start: start, count: imageLength), slots)
    }
}

/// An image in a mapped file, or opened from a sealed one.
final class MappedImage: ShardImage, Sendable {
    private let region: MappedRegion
    private let image: Span
    private let table: Table

    // Sendable: they point into the mapping, which is read-only and lives as long as this object.
    @safe private struct Span: @unchecked Sendable { let bytes: UnsafeRawBufferPointer }
    @safe private struct Table: @unchecked Sendable { let slots: UnsafeBufferPointer<UInt64> }

    init(
        _ region: consuming MappedRegion, _ image: UnsafeRawBufferPointer,
        _ slots: UnsafeBufferPointer<UInt64>
    ) {
        self.region = region
        self.image = unsafe Span(bytes: image)
        table = unsafe Table(slots: slots)
    }

    var bytes: UnsafeRawBufferPointer { unsafe image.bytes }
    var slots: UnsafePointer<UInt64> {
        // A root has no slots and nobody asks for them; any valid pointer will do then.
        unsafe table.slots.baseAddress ?? UnsafePointer(bitPattern: 8).unsafelyUnwrapped
    }
    var slotCount: Int { unsafe table.slots.count }
}
