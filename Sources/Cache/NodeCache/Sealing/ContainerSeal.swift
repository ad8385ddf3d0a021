import CCrypto
import DatasetStore
import System

/// How one container's bytes are sealed.
///
/// Its chunks lie in the data file where they would lie in the clear, each encrypted (AES-256-GCM keeps lengths) in
/// sectors of 16 KiB from the chunk's start, so that a read opens no more than it needs. The nonce and tag of each sector
/// are in the map file, behind the pack's footer: an envelope with the container's own random key, then a mark for each
/// sector. Every write takes fresh random nonces. A sector is sealed together with the pack's id, its chunk and its place, so
/// that none can stand in for another. The footer, which names chunks by their hashes and imported objects by
/// their names, is the envelope's body.
///
/// Marks and data first, then the bits of the map: a chunk whose bit is set opens, whenever the process is killed. After
/// a power cut chunks that are not trusted are opened and hashed before their next use, as in the clear.
@safe final class ContainerSeal: Sendable {
    static let sectorBytes = 16 << 10
    private static let markBytes = SealEnvelope.bodyMarkBytes
    private static let contextBytes = 32

    private let key: CacheKey
    private let pack: PackReference
    private let purpose: [UInt8]
    private let pool: SealBufferPool
    private let envelope: Monitor<SealEnvelope>

    /// A new key for a container.
    init(newFor pack: PackReference, _ keys: CacheKeys, _ pool: SealBufferPool) throws(SealError) {
        self.pack = pack
        self.pool = pool
        purpose = Self.purpose(pack)
        let envelope = try SealEnvelope.new(for: purpose, keys, pool)
        key = envelope.key
        self.envelope = Monitor(envelope)
    }

    /// Of a container that was made before: `bytes` is its envelope. Nil when none of the keys opens it.
    init?(_ bytes: [UInt8], of pack: PackReference, _ keys: CacheKeys, _ pool: SealBufferPool) {
        self.pack = pack
        self.pool = pool
        purpose = Self.purpose(pack)
        guard let envelope = SealEnvelope(bytes, for: purpose, keys, pool) else { return nil }
        key = envelope.key
        self.envelope = Monitor(envelope)
    }

    /// Of the container whose map `file` is.
    convenience init?(
        in file: borrowing FileDescriptor, _ pack: PackReference, _ sealing: CacheSealing,
        _ files: any FileSystem
    ) {
        guard
            let bytes = try? files.bytes(
                of: file, at: Self.envelopeOffset(pack), count: SealEnvelope.byteCount)
        else { return nil }
        self.init(bytes, of: pack, sealing.keys, sealing.pool)
    }

    /// What the container's key is sealed for: the pack by everything that a snapshot says of it.
    private static func purpose(_ pack: PackReference) -> [UInt8] {
        let map = ContainerMap(
            pack: pack, bootID: BootID([]), isClean: false, hasFooter: false, isSealed: true)
        return Array("kaml container 1".utf8) + map.encoded()[32..<112]
    }

    /// The envelope as it is in the map file now.
    var encodedEnvelope: [UInt8] { envelope.withLock { $0.encoded } }

    // MARK: - Places

    /// Where the envelope is in the map file.
    static func envelopeOffset(_ pack: PackReference) -> Int {
        (ContainerMap.footerOffset(pack) + Int(pack.footerLength) + 7) & ~7
    }

    /// Where in the map file the mark of the sector is that begins at `offset` of the container, in chunk `chunk`.
    ///
    /// Chunks lie in order and do not overlap, so the sum grows from each sector to the next: no table is needed to find
    /// a mark, and no two sectors have the same.
    private func markOffset(_ chunk: Int, _ offset: UInt64) -> UInt64 {
        let slot = UInt64(chunk) + offset / UInt64(Self.sectorBytes)
        return UInt64(Self.envelopeOffset(pack) + SealEnvelope.byteCount) + slot * UInt64(Self.markBytes)
    }

    private static func sectorCount(_ length: Int) -> Int { (length + sectorBytes - 1) / sectorBytes }

    /// Whether a chunk may lie there: what a caller says comes from a footer or a manifest.
    private func isInside(_ chunk: Int, _ offset: UInt64, _ length: Int) -> Bool {
        chunk >= 0 && chunk < Int(pack.chunkCount) && length > 0
            && offset <= pack.containerSize && UInt64(length) <= pack.containerSize - offset
    }

    // MARK: - Writing

    /// A chunk's plain bytes.
    @safe struct Chunk {
        var index: Int
        /// Where in the container it begins.
        var offset: UInt64
        var plain: UnsafeRawBufferPointer
    }

    /// Encrypts chunks, which are in order and do not overlap, into `target`, which stands for the container from `start` on,
    /// and writes the marks of their sectors into the map: at once for chunks that follow each other.
    func seal(
        _ chunks: [Chunk], into target: UnsafeMutableRawPointer, from start: UInt64, _ buffers: SealBuffers,
        writeMarks: (UnsafeRawBufferPointer, UInt64) throws(Errno) -> Void
    ) throws(Errno) {
        var rest = chunks[...]
        while let first = rest.first {
            var count = 1
            while count < rest.count, rest[rest.startIndex + count].index == first.index + count {
                count += 1
            }
            try unsafe seal(
                run: rest.prefix(count), into: target, from: start, buffers, writeMarks: writeMarks)
            rest = rest.dropFirst(count)
        }
    }

    private func seal(
        run chunks: ArraySlice<Chunk>, into target: UnsafeMutableRawPointer, from start: UInt64,
        _ buffers: SealBuffers, writeMarks: (UnsafeRawBufferPointer, UInt64) throws(Errno) -> Void
    ) throws(Errno) {
        for chunk in chunks {
            guard unsafe isInside(chunk.index, chunk.offset, chunk.plain.count), chunk.offset >= start else {
                throw .invalid
            }
        }
        guard let first = chunks.first, let last = chunks.last else { return }
        let place = markOffset(first.index, first.offset)
        let lastSector =
            unsafe last.offset + UInt64((last.plain.count - 1) / Self.sectorBytes * Self.sectorBytes)
        let end = markOffset(last.index, lastSector) + UInt64(Self.markBytes)
        // Slots between those of two chunks are nobody's.
        let marks = unsafe buffers.tags(Int(end - place))
        guard let memory = marks.baseAddress,
            // Nonces, and where the tags go something that is replaced.
            unsafe RAND_bytes(memory.assumingMemoryBound(to: UInt8.self), Int32(marks.count)) == 1
        else { throw .inputOutput }
        for chunk in chunks {
            let own = unsafe memory + Int(markOffset(chunk.index, chunk.offset) - place)
            guard unsafe seal(chunk, into: target + Int(chunk.offset - start), own, buffers) else {
                throw .inputOutput
            }
        }
        try unsafe writeMarks(UnsafeRawBufferPointer(marks), place)
    }

    private func seal(
        _ chunk: Chunk, into target: UnsafeMutableRawPointer, _ marks: UnsafeMutableRawPointer,
        _ buffers: SealBuffers
    ) -> Bool {
        let length = unsafe chunk.plain.count
        return unsafe withContext(chunk.index) { context, setOffset in
            for sector in 0..<Self.sectorCount(length) {
                let start = sector * Self.sectorBytes
                let end = min(length, start + Self.sectorBytes)
                let mark = unsafe marks + sector * Self.markBytes
                setOffset(chunk.offset + UInt64(start))
                guard
                    unsafe buffers.cipher.seal(
                        UnsafeRawBufferPointer(rebasing: chunk.plain[start..<end]), into: target + start,
                        with: key, nonce: mark, tag: mark + SealCipher.nonceBytes,
                        about: UnsafeRawBufferPointer(context))
                else { return false }
            }
            return true
        }
    }

    // MARK: - Reading

    /// What of a chunk is to be opened.
    struct Wanted {
        var chunk: Int
        /// Where in the container the chunk begins, and its bytes.
        var offset: UInt64
        var length: Int
        /// Bytes of the chunk.
        var range: Range<Int>

        /// The whole sectors around the range.
        var sectors: Range<Int> {
            let start = range.lowerBound / sectorBytes * sectorBytes
            let end = (range.upperBound + sectorBytes - 1) / sectorBytes * sectorBytes
            return start..<min(length, end)
        }
    }

    /// Fills `target`, which has as many bytes as `wanted.sectors`, with plain bytes. False when the disk does not give
    /// them, or other bytes than were sealed.
    func open(
        _ wanted: Wanted, into target: UnsafeMutableRawBufferPointer, _ buffers: SealBuffers,
        readData: (UnsafeMutableRawBufferPointer, UInt64) -> Bool,
        readMarks: (UnsafeMutableRawBufferPointer, UInt64) -> Bool
    ) -> Bool {
        let sectors = wanted.sectors
        guard isInside(wanted.chunk, wanted.offset, wanted.length), !wanted.range.isEmpty,
            wanted.range.upperBound <= wanted.length, target.count == sectors.count,
            let memory = target.baseAddress
        else { return false }
        let start = wanted.offset + UInt64(sectors.lowerBound)
        let count = Self.sectorCount(sectors.count)
        let marks = unsafe buffers.tags(count * Self.markBytes)
        guard unsafe readMarks(marks, markOffset(wanted.chunk, start)), unsafe readData(target, start),
            let first = marks.baseAddress
        else { return false }
        return unsafe withContext(wanted.chunk) { context, setOffset in
            for sector in 0..<count {
                let from = sector * Self.sectorBytes
                let end = min(sectors.count, from + Self.sectorBytes)
                let mark = unsafe UnsafeRawPointer(first + sector * Self.markBytes)
                setOffset(start + UInt64(from))
                guard
                    unsafe buffers.cipher.open(
                        UnsafeRawBufferPointer(rebasing: target[from..<end]), into: memory + from, with: key,
                        nonce: mark, tag: mark + SealCipher.nonceBytes,
                        about: UnsafeRawBufferPointer(context))
                else { return false }
            }
            return true
        }
    }

    /// What a sector is sealed together with: pack id 16, chunk u64, place u64.
    private func withContext(
        _ chunk: Int, _ body: (UnsafeMutableRawBufferPointer, (UInt64) -> Void) -> Bool
    ) -> Bool {
        unsafe withUnsafeTemporaryAllocation(byteCount: Self.contextBytes, alignment: 8) { context in
            unsafe context.storeBytes(of: pack.id.high.littleEndian, toByteOffset: 0, as: UInt64.self)
            unsafe context.storeBytes(of: pack.id.low.littleEndian, toByteOffset: 8, as: UInt64.self)
            unsafe context.storeBytes(of: UInt64(chunk).littleEndian, toByteOffset: 16, as: UInt64.self)
            return unsafe body(context) { offset in
                unsafe context.storeBytes(of: offset.littleEndian, toByteOffset: 24, as: UInt64.self)
            }
        }
    }

    // MARK: - The footer

    /// The footer's bytes, encrypted, and the envelope that opens them.
    func seal(footer: UnsafeRawBufferPointer) throws(Errno) -> (footer: [UInt8], envelope: [UInt8]) {
        guard let sealed = unsafe pool.seal(footer, with: key, for: purpose) else { throw .inputOutput }
        return envelope.withLock { envelope in
            envelope.bodyMark = sealed.mark
            return (sealed.bytes, envelope.encoded)
        }
    }

    func open(footer: UnsafeMutableRawBufferPointer) -> Bool {
        let mark = envelope.withLock { $0.bodyMark }
        return unsafe pool.open(inPlace: footer, mark, with: key, for: purpose)
    }
}
