import Chunking
import DatasetStore
import System

/// The header of a container's `.map` file.
///
/// 128 bytes: magic 8, version u32, flags u32, boot id 16, pack reference 80, checksum u64, zero u64. Then a
/// pair of u64 words for each 64 chunks (present, trusted), then the pack's footer once it is known. When the container is
/// sealed, the footer is too, and what opens it and the data follows it (ContainerSeal).
///
/// The clean flag says that everything the words vouch for has reached the disk; the checksum, over the header before
/// it and all words, holds while the flag is set.
struct ContainerMap {
    static let magic: StaticString = "KAMLCMAP"
    static let version: UInt32 = 1
    static let headerLength = 128
    private static let checksumOffset = 112

    var pack: PackReference
    var bootID: BootID
    var isClean: Bool
    var hasFooter: Bool
    var isSealed: Bool
    var checksum: UInt64

    static func pairOffset(_ index: Int) -> Int { headerLength + index * 16 }
    static func footerOffset(_ pack: PackReference) -> Int {
        pairOffset(PresenceBitmap.pairCount(chunks: Int(pack.chunkCount)))
    }

    func encoded() -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Self.headerLength)
        unsafe bytes.append(contentsOf: UnsafeBufferPointer(start: Self.magic.utf8Start, count: 8))
        bytes.appendLittleEndian(Self.version)
        bytes.appendLittleEndian(UInt32((isClean ? 1 : 0) | (hasFooter ? 2 : 0) | (isSealed ? 4 : 0)))
        bytes.append(contentsOf: bootID.bytes)
        bytes.append(contentsOf: pack.id.bytes)
        bytes.append(contentsOf: pack.footerHash.bytes)
        bytes.appendLittleEndian(pack.objectSize)
        bytes.appendLittleEndian(pack.containerSize)
        bytes.appendLittleEndian(pack.footerLength)
        bytes.appendLittleEndian(pack.chunkCount)
        bytes.appendLittleEndian(pack.layout.rawValue)
        bytes.appendLittleEndian(UInt32(0))
        bytes.appendLittleEndian(checksum)
        bytes.appendLittleEndian(UInt64(0))
        return bytes
    }

    /// The checksum that goes with these words.
    func checksum(over pairs: UnsafeRawBufferPointer) -> UInt64 {
        var bytes = Array(encoded().prefix(Self.checksumOffset))
        unsafe bytes.append(contentsOf: pairs)
        return unsafe bytes.withUnsafeBytes { unsafe Checksum.of($0) }
    }

    /// Nil when the bytes are no map that this version wrote.
    init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count >= Self.headerLength, let start = bytes.baseAddress else { return nil }
        for index in 0..<8 where unsafe bytes[index] != Self.magic.utf8Start[index] { return nil }
        guard unsafe start.littleEndian(8, as: UInt32.self) == Self.version,
            let id = unsafe PackID(hex: Hex.encode(Array(bytes[32..<48]))),
            let layout = unsafe PackLayout(rawValue: start.littleEndian(104, as: UInt32.self))
        else { return nil }
        let flags = unsafe start.littleEndian(12, as: UInt32.self)
        guard flags <= 7 else { return nil }
        isClean = flags & 1 != 0
        hasFooter = flags & 2 != 0
        isSealed = flags & 4 != 0
        bootID = unsafe BootID(Array(bytes[16..<32]))
        pack = unsafe PackReference(
            id: id, footerHash: ContentHash(loading: start + 48),
            objectSize: start.littleEndian(80, as: UInt64.self),
            containerSize: start.littleEndian(88, as: UInt64.self),
            footerLength: start.littleEndian(96, as: UInt32.self),
            chunkCount: start.littleEndian(100, as: UInt32.self), layout: layout)
        checksum = unsafe start.littleEndian(Self.checksumOffset, as: UInt64.self)
    }

    /// Whether the words of this map, which follow it in `bytes`, may be believed without hashing what they vouch for.
    /// `bytes` holds at least `footerOffset` bytes.
    func keepsTrust(_ bytes: UnsafeRawBufferPointer, _ context: CacheContext) -> Bool {
        // A bit without a footer was set on a manifest's word for the chunk's place.
        guard !context.options.distrust, hasFooter else { return false }
        guard isClean else { return bootID == context.bootID }
        let words = unsafe bytes[Self.headerLength..<Self.footerOffset(pack)]
        return unsafe checksum(over: UnsafeRawBufferPointer(rebasing: words)) == checksum
    }

    init(pack: PackReference, bootID: BootID, isClean: Bool, hasFooter: Bool, isSealed: Bool) {
        self.pack = pack
        self.bootID = bootID
        self.isClean = isClean
        self.hasFooter = hasFooter
        self.isSealed = isSealed
        checksum = 0
    }
}

extension PresenceBitmap {
    /// As a map file's words say; without trust when nobody vouches for them. `bytes` holds at least `footerOffset` bytes.
    convenience init(_ bytes: UnsafeRawBufferPointer, of map: ContainerMap, keepsTrust: Bool) {
        self.init(count: Int(map.pack.chunkCount))
        guard let start = bytes.baseAddress else { return }
        for index in 0..<pairCount {
            let offset = ContainerMap.pairOffset(index)
            unsafe load(
                index, present: start.littleEndian(offset, as: UInt64.self),
                trusted: keepsTrust ? start.littleEndian(offset + 8, as: UInt64.self) : 0)
        }
    }
}

extension PackReference {
    /// Whether a container can be made for it. References out of a manifest were checked there; this is for
    /// ones that were built by hand or read from a map file.
    var isPlausible: Bool {
        chunkCount > 0 && chunkCount <= 1 << 20 && containerSize > 0 && containerSize <= 16 << 30
            && UInt64(footerLength) < objectSize && objectSize <= 17 << 30 && footerLength <= 128 << 20
    }
}
