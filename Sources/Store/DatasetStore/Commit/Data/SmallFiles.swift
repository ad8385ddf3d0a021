import Chunking
import Glibc
import ObjectStore
import System

/// Reads the small files of a slot. One a thread: it keeps the directory at hand open.
struct SmallFileReader: ~Copyable {
    private static let tries = 3

    private let tree: SourceTree
    private let access: any SourceAccess
    private let wholeLimit: UInt64
    private let links: HardLinks
    private let hasher = ContentHasher()
    private var directory: OpenDirectory?

    init(_ tree: SourceTree, _ links: HardLinks, _ access: any SourceAccess, wholeLimit: UInt64) {
        self.links = links
        self.tree = tree
        self.access = access
        self.wholeLimit = wholeLimit
    }

    /// Fills the slot with the files of `jobs`, which fit it by what the scan said of them.
    mutating func fill(_ slot: WorkSlot, _ jobs: [Pipeline.LateJob]) {
        var used = 0
        for job in jobs {
            var draft = SmallFileDraft(job: job.job, place: job.place, outcome: .empty, tries: job.tries)
            do throws(Errno) {
                try read(&draft, slot, &used)
            } catch .stale {
                draft.retries += 1
                draft.outcome = .otherSize
            } catch {
                let vanished = error == .noEntry || error == .loop || error == .notDirectory
                draft.outcome = .failed(vanished ? .vanished : .unreadable(error))
            }
            slot.files.append(draft)
        }
    }

    private mutating func read(_ draft: inout SmallFileDraft, _ slot: WorkSlot, _ used: inout Int)
        throws(Errno)
    {
        let arena = tree.arena(draft.place)
        let node = unsafe arena.nodes[draft.place.index]
        if node.kind == .symlink {
            try readSymlink(&draft)
            return
        }
        let file = try access.open(draft.place, in: tree, &directory)
        while true {
            let before = try file.status()
            // Something else stands under this name now.
            guard before.kind == .regular, links.isExpected(before, node, draft.job.ordinal) else {
                throw .noEntry
            }
            let room = unsafe slot.plain.count - used
            guard before.size <= wholeLimit, before.size < UInt64(room) else {
                draft.outcome = .otherSize
                return
            }
            // One byte more than it should have tells a file that grew.
            let buffer = unsafe UnsafeMutableRawBufferPointer(
                rebasing: slot.plain[used..<(used + Int(before.size) + 1)])
            let count = try unsafe file.read(into: buffer, at: 0)
            let attributes = try file.attributes()
            let after = try file.status()
            if UInt64(count) == before.size, after.isSameVersion(as: before) {
                draft.status = before
                draft.attributes = attributes
                if count > 0 {
                    let range = used..<(used + count)
                    used = range.upperBound
                    draft.outcome = .chunk(slot.chunks.count)
                    unsafe slot.chunks.append(
                        ChunkDraft(
                            hash: hasher.hash(.chunk, slot.bytes(range)), plain: range, fileOffset: 0,
                            length: UInt64(count), content: .hole))
                }
                return
            }
            draft.retries += 1
            guard draft.retries < Self.tries else {
                draft.outcome = .failed(.changing)
                return
            }
        }
    }

    private mutating func readSymlink(_ draft: inout SmallFileDraft) throws(Errno) {
        let (target, status) = try access.readSymlink(draft.place, in: tree, &directory)
        guard status.kind == .symlink else { throw .noEntry }
        draft.status = status
        draft.outcome = target.isEmpty ? .failed(.changing) : .symlink(target)
    }
}

extension FileStatus {
    /// Whether the file cannot have been written between two looks.
    func isSameVersion(as other: FileStatus) -> Bool {
        inode == other.inode && device == other.device && size == other.size && modified == other.modified
            && changed == other.changed
    }
}

/// Packs small files side by side, in the order they come. For whoever has the assembly's turn.
struct SmallPacker: ~Copyable {
    /// Stored bytes after which a pack ends: one ranged request brings hundreds of files.
    private static let packBytes: UInt64 = 64 << 20
    /// A record holds a frame's offset in 32 bits and a slot's number in 32.
    private static let containerBytes: UInt64 = 4 << 30
    /// Chunks after which a pack of tiny files ends: its footer is read whole, 64 bytes a chunk.
    private static let packChunks: UInt32 = 65_536

    private var writer: PackWriter?
    private var own: OwnPack?
    private var number: UInt32 = 0
    private(set) var newBytes: UInt64 = 0
    private(set) var prefixFrames: UInt64 = 0

    init() {}

    /// Stores a chunk unless it has been stored since it was looked up.
    mutating func place(
        _ draft: ChunkDraft, of slot: WorkSlot, _ context: StoringContext
    ) throws(StoreError) -> ChunkPlace {
        if case .known(let places) = draft.content, let place = places.first { return place }
        if let place = try context.catalog.find(draft.hash, .slots) { return place }
        guard let chunk = slot.encoded(draft) else {
            throw StoreError(.inputOutput, "a small file has no contents to store")
        }
        if writer == nil { try begin(context) }
        if let base = chunk.base, let writer, !writer.hasRoom(forBase: base.pack.id) {
            try end(context)
            try begin(context)
        }
        guard let writer, let own else { throw StoreError(.inputOutput, "no pack is open") }
        let entry: ChunkEntry
        do throws(ObjectStoreError) { entry = try writer.append(chunk) } catch { throw StoreError(error) }
        newBytes += draft.length
        if chunk.codec == .zstdPrefix { prefixFrames += 1 }
        let place = context.catalog.append(entry, to: own, number: number, findable: true)
        let isFull =
            writer.length >= Self.packBytes || writer.containerSize >= Self.containerBytes
            || writer.chunkCount >= Self.packChunks
        if isFull { try end(context) }
        return place
    }

    private mutating func begin(_ context: StoringContext) throws(StoreError) {
        let own = OwnPack(id: PackID(random: context.random), layout: .slots)
        do throws(ObjectStoreError) {
            writer = try PackWriter(id: own.id, layout: .slots, in: context.objects)
        } catch { throw StoreError(error) }
        self.own = own
        number = context.catalog.add(own)
    }

    mutating func end(_ context: StoringContext) throws(StoreError) {
        guard let writer, let own else { return }
        self.writer = nil
        self.own = nil
        try context.publisher.submit(writer, own)
    }

    mutating func abandon() {
        writer?.abandon()
        writer = nil
    }
}
