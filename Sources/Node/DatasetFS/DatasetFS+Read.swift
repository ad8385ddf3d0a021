import DatasetStore
import NodeCache
import ObjectStore
import Synchronization
import System
import Telemetry

/// Bytes: straight from container mappings when they are there, through the cache's fetch when not.
extension DatasetFS {
    package func read(_ inode: Inode, offset: UInt64, length: Int, completion: ReadCompletion) {
        if Trace.isEnabled, mayReadManifest(inode) {
            return traced { read(inode, offset: offset, length: length, completion: completion) }
        }
        let found: Snapshot.Place
        do throws(Errno) { found = try place(of: inode) } catch { return completion.fail(error) }
        let record = found.record
        guard offset < record.size, length > 0 else {
            if record.kind == .directory { return completion.fail(.isDirectory) }
            return unsafe completion.deliver(completion.context, nil, 0, 0)
        }
        let count = Int(min(UInt64(min(length, ZeroPages.count)), record.size - offset))
        switch record.kind {
        case .chunk: readChunk(found, record, offset: Int(offset), count: count, completion)
        case .extents: readExtents(found, record, offset: offset, count: count, completion)
        case .directory: completion.fail(.isDirectory)
        case .empty, .symlink, .hardLink: completion.fail(.invalid)
        }
    }

    /// The container of a pack in a shard's table, once every record of the shard that names the pack was compared
    /// with the pack's footer: only then may they say where a present chunk's bytes lie. One atomic load from then
    /// on. Nil while the footer is not known, and for good when a record contradicts it.
    @inline(__always)
    func vouchedContainer(_ place: Snapshot.Place, _ pack: Int) throws(Errno) -> Unmanaged<Container>? {
        let handle = unsafe place.shard.pointee.packHandles + pack
        let word = unsafe handle.pointee.load(ordering: .acquiring)
        if word == Self.contradicted { return nil }
        if let known = unsafe UnsafeRawPointer(bitPattern: word) {
            return unsafe Unmanaged<Container>.fromOpaque(known)
        }
        return try unsafe vouch(place, pack)
    }

    /// Instead of a container: a record of the shard contradicts the pack's footer. No address of an object is odd.
    private static var contradicted: UInt { 1 }

    /// The same container, vouched for or not.
    func container(_ place: Snapshot.Place, _ pack: Int) throws(Errno) -> Container {
        do throws(CacheError) {
            return try unsafe cache.container(
                for: place.shard.pointee.view.pack(pack), origin: origin, tenant: tenant)
        } catch {
            throw report(error, at: place)
        }
    }

    @inline(never)
    private func vouch(_ place: Snapshot.Place, _ pack: Int) throws(Errno) -> Unmanaged<Container>? {
        let container = try container(place, pack)
        guard container.enter() else { return nil }
        defer { container.leave() }
        guard container.hasDisk else { return nil }
        // Chunks without a footer on this node are present to nobody: the miss path fetches it.
        guard let footer = container.localFooter() else { return nil }
        let handle = unsafe place.shard.pointee.packHandles + pack
        guard unsafe Self.agrees(place.shard.pointee.view, pack, footer) else {
            // Neither of the two changes: no read has to compare all records once more.
            unsafe handle.pointee.store(Self.contradicted, ordering: .releasing)
            return nil
        }
        // Unretained: the cache keeps its containers for as long as it lives, and this object holds the cache.
        let opened = unsafe Unmanaged.passUnretained(container)
        unsafe handle.pointee.store(UInt(bitPattern: opened.toOpaque()), ordering: .releasing)
        return unsafe opened
    }

    private static func agrees(_ view: ShardView, _ pack: Int, _ footer: PackFooter) -> Bool {
        for index in 0..<view.count {
            let record = view.record(index)
            switch record.kind {
            case .chunk where record.pack == pack:
                if !footer[Int(record.chunk)].describesSame(as: record.chunkEntry) { return false }
            case .extents:
                for index in record.extents {
                    let extent = view.extent(index)
                    if extent.pack == pack, footer.problem(of: extent) != nil { return false }
                }
            default: break
            }
        }
        return true
    }

    @inline(__always)
    private func readChunk(
        _ place: Snapshot.Place, _ record: RecordView, offset: Int, count: Int, _ completion: ReadCompletion
    ) {
        if cache.isSealed {
            return readSealedChunk(place, record, offset: offset, count: count, completion)
        }
        let handle: Unmanaged<Container>?
        do throws(Errno) { unsafe handle = try unsafe vouchedContainer(place, record.pack) } catch {
            return completion.fail(error)
        }
        let chunk = Int(record.chunk)
        let start = record.containerOffset + UInt64(offset)
        if let handle = unsafe handle,
            unsafe handle._withUnsafeGuaranteedRef({ deliver($0, chunk, start, count, completion) })
        {
            return
        }
        do throws(Errno) {
            let container = try container(place, record.pack)
            // It may have been asleep.
            if unsafe handle != nil, deliver(container, chunk, start, count, completion) { return }
            let piece = ReadPiece.stored(
                FetchPart(container: container, chunks: chunk..<(chunk + 1), hint: record.chunkEntry),
                start..<(start + UInt64(count)))
            readMissing(place, [piece], completion)
        } catch {
            completion.fail(error)
        }
    }

    /// Answers a read with bytes of one chunk when it is present. The container is in use until the reply is made.
    @inline(__always)
    private func deliver(
        _ container: Container, _ chunk: Int, _ start: UInt64, _ count: Int, _ completion: ReadCompletion
    ) -> Bool {
        guard container.enter() else { return false }
        defer { container.leave() }
        guard container.isPresent(chunk), !container.holdsRecent else { return false }
        container.touch()
        cache.didRead(container, chunk..<(chunk + 1))
        unsafe completion.deliver(
            one: ReadSegment(
                base: UnsafeMutableRawPointer(mutating: container.bytes + Int(start)), length: count))
        cache.didReply(completion.residentBytes(count))
        return true
    }

    private func readExtents(
        _ place: Snapshot.Place, _ record: RecordView, offset: UInt64, count: Int,
        _ completion: ReadCompletion
    ) {
        if cache.isSealed {
            return readSealedExtents(place, record, offset: offset, count: count, completion)
        }
        // 1 MiB of the smallest chunks (64 KiB) in extents of one chunk each, with holes between, fits.
        let capacity = 40
        let complete = unsafe withUnsafeTemporaryAllocation(of: PresentPart.self, capacity: capacity) {
            held in
            var used = 0
            var given = 0
            // Until the reply is made.
            defer { for index in 0..<used { unsafe held[index].leave() } }
            do throws(Errno) {
                try forEachPart(place, record, offset: offset, count: count) { part throws(Errno) in
                    guard used < capacity, let present = try present(place, part) else { return false }
                    unsafe held.initializeElement(at: used, to: present)
                    used += 1
                    given += part.count
                    return true
                }
            } catch {
                completion.fail(error)
                return true
            }
            guard given == count else { return false }
            unsafe withUnsafeTemporaryAllocation(of: ReadSegment.self, capacity: capacity) { segments in
                for index in 0..<used {
                    unsafe segments.initializeElement(at: index, to: held[index].segment)
                }
                unsafe completion.deliver(
                    completion.context, segments.baseAddress.map { UnsafeRawPointer($0) }, used, 0)
            }
            cache.didReply(completion.residentBytes(count))
            return true
        }
        if complete { return }
        readMissingExtents(place, record, offset: offset, count: count, completion)
    }

    func readMissingExtents(
        _ place: Snapshot.Place, _ record: RecordView, offset: UInt64, count: Int,
        _ completion: ReadCompletion
    ) {
        do throws(Errno) {
            var pieces: [ReadPiece] = []
            try forEachPart(place, record, offset: offset, count: count) { part throws(Errno) in
                pieces.append(try piece(place, part))
                return true
            }
            readMissing(place, pieces, completion)
        } catch {
            completion.fail(error)
        }
    }

    /// A part of a read that lies in one extent.
    struct Part {
        var extent: ExtentView
        /// Index in the shard's pack table; nil in a hole.
        var pack: Int?
        var containerOffset: UInt64
        var count: Int
    }

    func forEachPart(
        _ place: Snapshot.Place, _ record: RecordView, offset: UInt64, count: Int,
        _ body: (Part) throws(Errno) -> Bool
    ) throws(Errno) {
        let view = unsafe place.shard.pointee.view
        let extents = record.extents
        var low = extents.lowerBound
        var high = extents.upperBound
        while high - low > 1 {
            let middle = (low + high) / 2
            if view.extent(middle).fileOffset <= offset { low = middle } else { high = middle }
        }
        var position = offset
        let end = offset + UInt64(count)
        var index = low
        while position < end, index < extents.upperBound {
            let extent = view.extent(index)
            let skipped = position - extent.fileOffset
            let length = min(extent.length - skipped, end - position)
            let pack = extent.pack
            // The field of a hole means nothing: nobody has looked at it.
            let start = pack == nil ? 0 : extent.containerOffset + skipped
            let part = Part(extent: extent, pack: pack, containerOffset: start, count: Int(length))
            guard try body(part) else { return }
            position += length
            index += 1
        }
    }

    /// Bytes that are at hand, and the container that they lie in, which is in use until `leave`.
    @safe private struct PresentPart {
        let segment: ReadSegment
        let container: Unmanaged<Container>?

        func leave() { unsafe container?._withUnsafeGuaranteedRef { $0.leave() } }
    }

    /// The part's bytes when they are at hand, else nil.
    private func present(_ place: Snapshot.Place, _ part: Part) throws(Errno) -> PresentPart? {
        guard let pack = part.pack else {
            return unsafe PresentPart(
                segment: ReadSegment(base: zeros.base, length: part.count), container: nil)
        }
        guard let handle = try unsafe vouchedContainer(place, pack) else { return nil }
        let start = Int(part.containerOffset)
        let address = unsafe handle._withUnsafeGuaranteedRef { container -> UnsafeRawPointer? in
            // Their pages may be nowhere but on disk: the fetch has them in memory.
            guard !container.holdsRecent, container.enter() else { return nil }
            if container.isComplete {
                container.didServeComplete()
            } else {
                guard let chunks = Self.chunks(of: part, in: container), container.arePresent(chunks) else {
                    container.leave()
                    return nil
                }
                cache.didRead(container, chunks)
            }
            container.touch()
            return unsafe container.bytes + start
        }
        return unsafe address.map {
            unsafe PresentPart(
                segment: ReadSegment(base: UnsafeMutableRawPointer(mutating: $0), length: part.count),
                container: handle)
        }
    }

    private func piece(_ place: Snapshot.Place, _ part: Part) throws(Errno) -> ReadPiece {
        guard let pack = part.pack else { return .zeros(part.count) }
        let vouched = try unsafe vouchedContainer(place, pack)
        let container = try container(place, pack)
        let range = part.containerOffset..<(part.containerOffset + UInt64(part.count))
        if unsafe vouched != nil { return .stored(FetchPart(container: container, bytes: range), range) }
        // The footer may come after this call.
        let listed = ListedExtent(extent: part.extent, snapshot: snapshot)
        let checked = FetchPart(container: container, bytes: range) { footer in
            footer.problem(of: listed.extent)
        }
        return .stored(checked, range)
    }

    /// The chunks that cover a part, by the pack's footer, which a container that is vouched for has. Nil when the
    /// manifest names bytes that no chunk has.
    static func chunks(of part: Part, in container: Container) -> Range<Int>? {
        guard let footer = container.localFooter() else { return nil }
        let first = footer.chunk(at: part.containerOffset)
        let last = footer.chunk(at: part.containerOffset + UInt64(part.count) - 1)
        return first <= last && last < footer.chunkCount ? first..<(last + 1) : nil
    }
}

/// An extent with the snapshot in whose mapped manifest it lies.
@safe private struct ListedExtent: @unchecked Sendable {
    // Sendable: a view of memory that never changes, and that the snapshot keeps.
    let extent: ExtentView
    let snapshot: Snapshot
}

extension ReadCompletion {
    /// What a reply of so many bytes counts for when it is decided how long its pages stay in this process's page table.
    /// One of many comes back to them soon, from anywhere: faults would cost it more than the copy does.
    @inline(__always)
    func residentBytes(_ count: Int) -> Int { isOneOfMany ? 0 : count }

    @inline(__always)
    func fail(_ error: Errno) { unsafe deliver(context, nil, 0, error.rawValue) }

    @inline(__always)
    func deliver(one segment: ReadSegment) {
        var segment = segment
        unsafe withUnsafePointer(to: &segment) { unsafe deliver(context, UnsafeRawPointer($0), 1, 0) }
    }
}
