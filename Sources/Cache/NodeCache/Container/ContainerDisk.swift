import DatasetStore
import System

/// A container's two files, and the discipline that keeps the map true.
///
/// - A word of the map is written after the bytes it vouches for, so a killed process promises nothing that is
///   not there. It loses at most the words that one thread was about to write for another.
/// - A map that says clean is first marked dirty, durably, before any of its words changes: else a power cut could
///   leave new words under the old mark.
/// - A map that cannot be written any more is removed: what it says on disk would outlive what is true.
final class ContainerDisk: Sendable {
    let context: CacheContext
    let pack: PackReference
    let data: FileDescriptor
    /// Nil where the container is in the clear.
    let seal: ContainerSeal?
    private let direct = DirectFile()
    private let map: FileDescriptor
    private let mapPath: ByteString
    private let ledger: Monitor<Ledger>

    /// What has yet to be written to the map, and what it says now.
    fileprivate struct Ledger {
        var pairs: Set<Int> = []
        var header = false
        /// One thread at a time writes; those who come meanwhile leave their word here and go on.
        var isWriting = false
        var isClean: Bool
        var hasFooter: Bool
        var isAbandoned = false
        /// Whether anything was written into the container in this life.
        var isChanged = false
    }

    fileprivate enum Step {
        case markDirty
        case pair(Int)
        case header(hasFooter: Bool)
        case done
    }

    /// Bytes that go into the page cache at a time. Longer writes get larger folios, out of memory that a virtual machine is
    /// more likely to have given back to its host.
    private static let cachedStep = 128 << 10

    init(
        context: CacheContext, pack: PackReference, data: consuming FileDescriptor,
        map: consuming FileDescriptor,
        mapPath: ByteString, seal: ContainerSeal?, isClean: Bool, hasFooter: Bool
    ) {
        self.context = context
        self.pack = pack
        self.data = data
        self.map = map
        self.mapPath = mapPath
        self.seal = seal
        ledger = Monitor(Ledger(isClean: isClean, hasFooter: hasFooter))
    }

    /// Whether the map on disk says less than is true until it is closed in order.
    var needsCleaning: Bool { ledger.withLock { !$0.isClean && !$0.isAbandoned } }

    /// Bytes of the blocks of both files.
    func allocatedBytes() throws(Errno) -> Int {
        let blocks = try context.files.status(of: data).blocks &+ context.files.status(of: map).blocks
        return Int(clamping: blocks &* 512)
    }

    var hasFooter: Bool { ledger.withLock { $0.hasFooter } }

    /// Keeps a chunk's plain bytes at `offset`.
    func store(_ chunk: Int, _ plain: UnsafeRawBufferPointer, at offset: UInt64) throws(Errno) {
        guard let seal else { return try unsafe write(plain, at: offset) }
        try withBuffers { buffers throws(Errno) in
            let sealed = unsafe buffers.bytes(plain.count)
            guard let target = sealed.baseAddress else { throw .invalid }
            let chunk = unsafe ContainerSeal.Chunk(index: chunk, offset: offset, plain: plain)
            try unsafe seal.seal([chunk], into: target, from: offset, buffers, writeMarks: writeMarks)
            try unsafe write(UnsafeRawBufferPointer(sealed), at: offset)
        }
    }

    /// Keeps a stretch of the container from `offset` on, of which `chunks`, in order, are to be kept; see `write(_:at:directly:)`.
    func store(
        _ stretch: UnsafeRawBufferPointer, at offset: UInt64, _ chunks: [ContainerSeal.Chunk], directly: Bool
    ) throws(Errno) {
        guard let seal else { return try unsafe write(stretch, at: offset, directly: directly) }
        try withBuffers { buffers throws(Errno) in
            // As far into a page as the container's bytes, for writes past the page cache.
            let lead = Int(offset % Block.pageBytes)
            let memory = unsafe buffers.bytes(lead + stretch.count)
            let sealed = unsafe UnsafeMutableRawBufferPointer(rebasing: memory[lead...])
            guard let target = sealed.baseAddress else { throw .invalid }
            // What lies between the chunks is nobody's, or of a chunk that is not kept.
            var end = 0
            for chunk in chunks {
                let place = Int(chunk.offset - offset)
                guard place >= end else { throw .invalid }
                unsafe (target + end).initializeMemory(as: UInt8.self, repeating: 0, count: place - end)
                unsafe end = place + chunk.plain.count
            }
            guard end <= sealed.count else { throw .invalid }
            unsafe (target + end).initializeMemory(as: UInt8.self, repeating: 0, count: sealed.count - end)
            try unsafe seal.seal(chunks, into: target, from: offset, buffers, writeMarks: writeMarks)
            try unsafe write(UnsafeRawBufferPointer(sealed), at: offset, directly: directly)
        }
    }

    private func withBuffers(_ body: (SealBuffers) throws(Errno) -> Void) throws(Errno) {
        let outcome = context.sealing?.pool.with { buffers in
            Result { () throws(Errno) in try body(buffers) }
        }
        // libcrypto has no memory.
        guard let outcome else { throw .inputOutput }
        try outcome.get()
    }

    private func writeMarks(_ marks: UnsafeRawBufferPointer, at offset: UInt64) throws(Errno) {
        try context.timed { () throws(Errno) in try unsafe context.files.write(map, marks, at: offset) }
    }

    private func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(Errno) {
        try context.timed { () throws(Errno) in try unsafe context.files.write(data, bytes, at: offset) }
    }

    /// Writes a run of bytes; when `directly`, whole pages of it past the page cache where the disk takes them so. `bytes`
    /// then lie in memory as they do in pages.
    private func write(
        _ bytes: UnsafeRawBufferPointer, at offset: UInt64, directly: Bool
    ) throws(Errno) {
        let page = Block.pageBytes
        let first = (offset + page - 1) / page * page
        let last = (offset + UInt64(bytes.count)) / page * page
        guard directly, first < last else {
            var written = 0
            while written < bytes.count {
                let count = min(Self.cachedStep, bytes.count - written)
                try unsafe write(
                    UnsafeRawBufferPointer(rebasing: bytes[written..<(written + count)]),
                    at: offset + UInt64(written))
                written += count
            }
            return
        }
        let pages = Int(first - offset)..<Int(last - offset)
        guard
            try unsafe direct.write(
                UnsafeRawBufferPointer(rebasing: bytes[pages]), at: first, of: data,
                context.layout.data(pack.id), context)
        else { return try unsafe write(bytes, at: offset) }
        if pages.lowerBound > 0 {
            try unsafe write(UnsafeRawBufferPointer(rebasing: bytes[..<pages.lowerBound]), at: offset)
        }
        if pages.upperBound < bytes.count {
            try unsafe write(UnsafeRawBufferPointer(rebasing: bytes[pages.upperBound...]), at: last)
        }
    }

    /// The container is complete: nothing is written any more, unless a chunk turns out to be bad.
    func didComplete() { direct.close() }

    /// Whether `buffer` could be filled with all of chunk `chunk`, which begins at `offset`.
    func read(_ chunk: Int, into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) -> Bool {
        guard seal != nil else { return unsafe readData(buffer, offset) }
        let wanted = ContainerSeal.Wanted(
            chunk: chunk, offset: offset, length: buffer.count, range: 0..<buffer.count)
        return context.sealing?.pool.with { unsafe open(wanted, into: buffer, $0) } ?? false
    }

    /// Opens a part of a chunk of a sealed container.
    func open(
        _ wanted: ContainerSeal.Wanted, into buffer: UnsafeMutableRawBufferPointer, _ buffers: SealBuffers
    ) -> Bool {
        guard let seal else { return false }
        return unsafe seal.open(wanted, into: buffer, buffers, readData: readData) { marks, offset in
            unsafe (try? context.files.read(map, into: marks, at: offset)) == marks.count
        }
    }

    private func readData(_ buffer: UnsafeMutableRawBufferPointer, _ offset: UInt64) -> Bool {
        unsafe (try? context.files.read(data, into: buffer, at: offset)) == buffer.count
    }

    /// Writes the words of the chunks around `chunk` as they are in `bitmap` now, or leaves that to the thread that
    /// writes just then.
    func persist(_ chunk: Int, of bitmap: PresenceBitmap) {
        let leads = ledger.withLock { ledger in
            ledger.isChanged = true
            guard !ledger.isAbandoned else { return false }
            ledger.pairs.insert(chunk >> 6)
            return ledger.takeTurn()
        }
        if leads { writeMap(bitmap) }
    }

    /// Keeps the footer for later lives of the cache. It was verified, and is verified again when it is read.
    func persistFooter(_ bytes: UnsafeRawBufferPointer, _ bitmap: PresenceBitmap) {
        do throws(Errno) {
            if let seal {
                let sealed = try unsafe seal.seal(footer: bytes)
                try write(sealed.footer, at: ContainerMap.footerOffset(pack))
                try write(sealed.envelope, at: ContainerSeal.envelopeOffset(pack))
            } else {
                try unsafe context.files.write(map, bytes, at: UInt64(ContainerMap.footerOffset(pack)))
            }
        } catch { return context.noticeDiskTrouble(error) }
        let leads = ledger.withLock { ledger in
            ledger.isChanged = true
            guard !ledger.isAbandoned else { return false }
            ledger.hasFooter = true
            ledger.header = true
            return ledger.takeTurn()
        }
        if leads { writeMap(bitmap) }
    }

    func readFooter(into buffer: UnsafeMutableRawBufferPointer) -> Bool {
        guard
            unsafe (try? context.files.read(map, into: buffer, at: UInt64(ContainerMap.footerOffset(pack))))
                == buffer.count
        else { return false }
        return unsafe seal?.open(footer: buffer) ?? true
    }

    /// Makes everything durable and marks the map clean. Nobody writes any more.
    func close(_ bitmap: PresenceBitmap) {
        let (isClean, isAbandoned, hasFooter) = ledger.withLock { ($0.isClean, $0.isAbandoned, $0.hasFooter) }
        if isClean || isAbandoned { return }
        var header = self.header(isClean: true, hasFooter: hasFooter)
        var pairs: [UInt8] = []
        for index in 0..<bitmap.pairCount {
            let pair = bitmap.pair(index)
            pairs.appendLittleEndian(pair.present)
            pairs.appendLittleEndian(pair.trusted)
        }
        header.checksum = unsafe pairs.withUnsafeBytes { unsafe header.checksum(over: $0) }
        do throws(Errno) {
            try context.files.sync(data)
            try write(pairs, at: ContainerMap.headerLength)
            try context.files.sync(map)
            try write(header.encoded(), at: 0)
            try context.files.sync(map)
            ledger.withLock { $0.isClean = true }
        } catch {
            context.noticeDiskTrouble(error)
            disown(header)
        }
    }

    /// After a failed sync the kernel may have dropped pages that never reached the disk, and says so only once:
    /// whoever opens the container next, in this boot too, has to hash what it finds.
    private func disown(_ header: ContainerMap) {
        var header = header
        header.isClean = false
        header.bootID = BootID([])
        if (try? write(header.encoded(), at: 0)) == nil { try? context.files.unlink(mapPath) }
    }

    private func header(isClean: Bool, hasFooter: Bool) -> ContainerMap {
        ContainerMap(
            pack: pack, bootID: context.bootID, isClean: isClean, hasFooter: hasFooter, isSealed: seal != nil)
    }

    private func writeMap(_ bitmap: PresenceBitmap) {
        while true {
            do throws(Errno) {
                switch ledger.withLock({ $0.next() }) {
                case .markDirty:
                    let hasFooter = ledger.withLock { $0.hasFooter }
                    let header = self.header(isClean: false, hasFooter: hasFooter)
                    try write(header.encoded(), at: 0)
                    try context.files.sync(map)
                    ledger.withLock { $0.isClean = false }
                case .header(let hasFooter):
                    try write(header(isClean: false, hasFooter: hasFooter).encoded(), at: 0)
                case .pair(let index):
                    let pair = bitmap.pair(index)
                    var words: [UInt8] = []
                    words.appendLittleEndian(pair.present)
                    words.appendLittleEndian(pair.trusted)
                    try write(words, at: ContainerMap.pairOffset(index))
                case .done:
                    return
                }
            } catch {
                try? context.files.unlink(mapPath)
                ledger.withLock { ledger in
                    ledger.isAbandoned = true
                    ledger.isWriting = false
                }
                return context.noticeDiskTrouble(error)
            }
        }
    }

    private func write(_ bytes: [UInt8], at offset: Int) throws(Errno) {
        let outcome = unsafe bytes.withUnsafeBytes { bytes in
            Result { () throws(Errno) in try unsafe context.files.write(map, bytes, at: UInt64(offset)) }
        }
        try outcome.get()
    }
}

extension ContainerDisk.Ledger {
    fileprivate mutating func takeTurn() -> Bool {
        if isWriting { return false }
        isWriting = true
        return true
    }

    fileprivate mutating func next() -> ContainerDisk.Step {
        if (header || !pairs.isEmpty) && isClean { return .markDirty }
        if header {
            header = false
            return .header(hasFooter: hasFooter)
        }
        if let pair = pairs.popFirst() { return .pair(pair) }
        isWriting = false
        return .done
    }
}
