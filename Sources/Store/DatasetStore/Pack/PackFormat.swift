package import ObjectStore

/// Constants of the pack format v1. The article "StoreFormat" describes the bytes.
package enum PackFormat {
    static let headerMagic: StaticString = "KAMLPACK"
    static let frameMagic: StaticString = "\u{1}KFRAME\n"
    static let footerMagic: StaticString = "KAMLFOOT"
    static let trailerMagic: StaticString = "KAMLPEND"
    static let version: UInt16 = 1

    package static let headerLength = 32
    package static let frameHeaderLength = 24
    static let footerHeaderLength = 64
    static let chunkEntryLength = 64
    package static let trailerLength = 48

    /// A slot starts at a multiple of this, so that a small file can be mapped and copied by whole pages.
    package static let slotAlignment: UInt64 = 4096

    /// Bounds that every parser applies before it believes a length.
    struct Limits {
        /// 4 times the largest chunk that version 1 writes.
        let plainLength: UInt32 = 4 << 20
        /// Incompressible chunks are stored as they are, so no frame is longer than its chunk.
        let containerSize: UInt64 = 16 << 30
        let objectSize: UInt64 = 17 << 30
        let chunkCount: UInt32 = 1 << 20
        let baseCount: UInt32 = 65_534
        let sourceTableLength: UInt32 = 32 << 20

        var footerLength: UInt32 {
            UInt32(footerHeaderLength + trailerLength) + chunkCount * UInt32(chunkEntryLength)
                + baseCount * UInt32(PackReference.byteCount) + sourceTableLength
        }

        func allow(_ pack: PackReference) -> Bool {
            pack.chunkCount > 0 && pack.chunkCount <= chunkCount && pack.containerSize <= containerSize
                && pack.objectSize <= objectSize && pack.footerLength <= footerLength
                && UInt64(pack.footerLength) + UInt64(headerLength) <= pack.objectSize
                && UInt64(pack.footerLength) >= UInt64(footerHeaderLength + trailerLength)
                    + UInt64(pack.chunkCount) * UInt64(chunkEntryLength)
        }
    }
    static let limits = Limits()

    /// The first bytes of a pack.
    static func header(of id: PackID) -> [UInt8] {
        var header = ByteBuilder()
        unsafe header.raw(UnsafeRawBufferPointer(start: headerMagic.utf8Start, count: 8))
        header.u16(version)
        header.u16(0)
        header.u32(0)
        header.raw(id.bytes)
        return header.bytes
    }

    /// `packs/<first 2 hex digits>/<32 hex digits>`.
    package static func key(of id: PackID) -> ObjectKey {
        let name = id.description
        return ObjectKey(trusted: "packs/\(name.prefix(2))/\(name)")
    }
}
