import DatasetStore
import NodeCache
import System

/// Containers that a stream's pod maps (plane M). One thread at a time.
///
/// A pod keeps the whole container mapped, so how many there are is bounded; of those that no batch names any more the
/// one that was used longest ago goes first.
@safe final class LentContainers {
    typealias Index = Int

    @safe private struct Lent {
        var container: Unmanaged<Container>
        var segment: UInt32
        var bytes: UInt64
        /// Batches under way or given out that name it.
        var batches = 0
        /// The newest batch that asked for it, and that names it.
        var lastUse: UInt64 = 0
        var lastName: UInt64 = 0
    }

    /// More mappings than a process has room for by default would help nobody.
    static let limit = 512
    /// A container that was used within so many batches is not given up for another: they would only change places.
    private static let rest: UInt64 = 64

    private let files: ContainerFiles
    private let segments: SegmentNumbers
    private var lent: [Lent?] = []
    private var free: [Index] = []
    private var indices: [UnsafeMutableRawPointer: Index] = unsafe [:]
    private var refused: Set<UnsafeMutableRawPointer> = unsafe []
    /// Batches begun so far.
    private var clock: UInt64 = 0
    private var lastSearch: UInt64 = 0
    private(set) var bytes: UInt64 = 0
    /// Called with what the pod is to map, before anything names it, and with what it need not map any longer.
    private let announce: (consuming FileDescriptor, SegmentAnnouncement) -> Void
    private let end: (UInt32) -> Void

    init(
        _ files: ContainerFiles, _ segments: SegmentNumbers,
        announce: @escaping (consuming FileDescriptor, SegmentAnnouncement) -> Void,
        end: @escaping (UInt32) -> Void
    ) {
        self.files = files
        self.segments = segments
        self.announce = announce
        self.end = end
    }

    deinit {
        for case let lent? in lent { unsafe lent.container._withUnsafeGuaranteedRef { $0.takeBack() } }
    }

    /// A new batch begins.
    func beginBatch() { clock += 1 }

    func segment(_ index: Index) -> UInt32 { lent[index]?.segment ?? 0 }

    /// Where a container is mapped, lent now if it was not; nil when it cannot be, and its bytes are to be copied.
    func find(_ container: Unmanaged<Container>) -> Index? {
        let key = unsafe container.toOpaque()
        if let index = unsafe indices[key] {
            lent[index]?.lastUse = clock
            return index
        }
        if unsafe refused.contains(key) { return nil }
        return unsafe lend(container, key)
    }

    /// The batch that was begun last names it, until `release`. True when it did not before.
    func name(_ index: Index) -> Bool {
        guard lent[index]?.lastName != clock else { return false }
        lent[index]?.lastName = clock
        lent[index]?.batches += 1
        return true
    }

    func release(_ index: Index) { lent[index]?.batches -= 1 }

    private func lend(_ container: Unmanaged<Container>, _ key: UnsafeMutableRawPointer) -> Index? {
        if unsafe indices.count >= Self.limit {
            // Looked for once a batch: with more containers than fit most records would look.
            guard clock > lastSearch else { return nil }
            lastSearch = clock
            guard giveOneUp() else { return nil }
        }
        let known = unsafe container.takeUnretainedValue()
        let segment: UInt32
        let size = known.pack.containerSize
        do {
            let file = try files.open(known)
            segment = segments.next()
            announce(file, SegmentAnnouncement(id: segment, bytes: size, isCache: true))
        } catch {
            // Encrypted, or moved away: asking again for each record would cost more than copying.
            if unsafe refused.count >= 4096 { unsafe refused.removeAll() }
            unsafe refused.insert(key)
            return nil
        }
        let index = free.popLast() ?? lent.count
        if index == lent.count { lent.append(nil) }
        unsafe lent[index] = Lent(
            container: container, segment: segment, bytes: size, lastUse: clock)
        unsafe indices[key] = index
        bytes += size
        return index
    }

    private func giveOneUp() -> Bool {
        var oldest: Index?
        for (index, candidate) in lent.enumerated() {
            guard let candidate, candidate.batches == 0, clock - candidate.lastUse > Self.rest else {
                continue
            }
            if let best = oldest, let other = lent[best], other.lastUse <= candidate.lastUse { continue }
            oldest = index
        }
        guard let oldest, let gone = lent[oldest] else { return false }
        unsafe gone.container._withUnsafeGuaranteedRef { $0.takeBack() }
        unsafe indices[gone.container.toOpaque()] = nil
        lent[oldest] = nil
        free.append(oldest)
        bytes -= gone.bytes
        end(gone.segment)
        return true
    }
}
