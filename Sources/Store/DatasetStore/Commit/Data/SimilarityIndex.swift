import Chunking
import Synchronization
import System

/// Finds, by content, the chunk of an old version that resembles new bytes most. Compiled code moves as it
/// grows, so the old chunk at the same offset is mostly a stranger.
///
/// Anchors are places where some bits of a rolling hash are zero; the hash there is looked up in a table of the
/// old version's anchors, and each hit is a vote for the old chunk. Built only when the chunks at the same
/// offsets were poor bases for long enough to pay for reading the old version.
final class SimilarityIndex: Sendable {
    private struct State {
        var poorBytes: UInt64 = 0
        var anchors: AnchorTable?
        var isGivenUp = false
    }

    private let old: OldVersion
    private let state = Mutex(State())
    /// Poor bytes after which the index is built: it reads all of the old version once.
    private let patience: UInt64

    init(_ old: OldVersion) {
        self.old = old
        patience = max(2 << 20, old.size / 64)
    }

    /// Tells how a chunk with a base from the same offset went.
    func note(_ frame: EncodedFrame, plainCount: Int) {
        let isPoor = unsafe frame.codec != .zstdPrefix || frame.payload.count > plainCount / 8
        if isPoor { state.withLock { $0.poorBytes += UInt64(plainCount) } }
    }

    /// The old chunk most like `plain`; nil when there is none, or no index yet.
    func find(
        _ plain: UnsafeRawBufferPointer, _ reader: inout ChunkReader
    ) throws(StoreError) -> BaseCandidate? {
        // Built under the lock: others who need it wait for it.
        let table = try state.withLock { state throws(StoreError) -> AnchorTable? in
            if let anchors = state.anchors { return anchors }
            guard !state.isGivenUp, state.poorBytes >= patience else { return nil }
            do throws(StoreError) {
                state.anchors = try build(&reader)
            } catch {
                guard error.code == .damaged || error.code == .notFound else { throw error }
                state.isGivenUp = true
            }
            return state.anchors
        }
        guard let table, let best = unsafe table.bestMatch(plain) else { return nil }
        return candidate(best)
    }

    private func build(_ reader: inout ChunkReader) throws(StoreError) -> AnchorTable {
        let table = AnchorTable(plainBytes: old.size)
        var number: UInt32 = 0
        for run in old.runs {
            try unsafe reader.readRun(run.pack, run.firstChunk..<(run.firstChunk + run.chunkCount)) {
                _, bytes throws(StoreError) in
                unsafe table.add(bytes, chunk: number)
                number += 1
            }
        }
        return table
    }

    /// The n-th chunk of the old version, counted over its runs.
    private func candidate(_ number: UInt32) -> BaseCandidate? {
        var left = number
        for run in old.runs {
            if left < run.chunkCount { return BaseCandidate(pack: run.pack, chunk: run.firstChunk + left) }
            left -= run.chunkCount
        }
        return nil
    }
}

/// Anchors of many chunks by their hash. An anchor that two chunks have tells nothing and is dropped.
@safe final class AnchorTable: @unchecked Sendable {
    // Sendable: filled by one thread, only read after that.
    private static let anchorLimit: UInt64 = 4 << 20
    private static let ambiguous = UInt32.max

    private let hashes: UnsafeMutableBufferPointer<UInt32>
    private let chunks: UnsafeMutableBufferPointer<UInt32>
    private let slotMask: Int
    /// Zero bits that make an anchor.
    private let anchorMask: UInt64

    init(plainBytes: UInt64) {
        var bits: UInt64 = 8
        while plainBytes >> bits > Self.anchorLimit { bits += 1 }
        // Bits below 32 have seen 32 bytes at most: code changes an address every few instructions, so longer
        // windows find little again.
        anchorMask = ((1 << bits) - 1) << (32 - bits)
        var slots = 1 << 12
        while slots < Int(plainBytes >> bits) * 2 { slots *= 2 }
        slotMask = slots - 1
        unsafe hashes = .allocate(capacity: slots)
        unsafe chunks = .allocate(capacity: slots)
        unsafe hashes.initialize(repeating: 0)
        unsafe chunks.initialize(repeating: 0)
    }

    deinit {
        unsafe hashes.deallocate()
        unsafe chunks.deallocate()
    }

    func add(_ bytes: UnsafeRawBufferPointer, chunk: UInt32) {
        unsafe forEachAnchor(bytes) { hash in
            let slot = slot(hash)
            guard slot >= 0 else { return }
            if unsafe hashes[slot] == 0 {
                unsafe hashes[slot] = hash
                unsafe chunks[slot] = chunk
            } else if unsafe chunks[slot] != chunk {
                unsafe chunks[slot] = Self.ambiguous
            }
        }
    }

    /// The chunk with the most anchors in common; nil with fewer than four.
    func bestMatch(_ bytes: UnsafeRawBufferPointer) -> UInt32? {
        var votes: [UInt32: Int] = [:]
        unsafe forEachAnchor(bytes) { hash in
            let slot = slot(hash)
            guard slot >= 0, unsafe hashes[slot] == hash, unsafe chunks[slot] != Self.ambiguous else {
                return
            }
            unsafe votes[chunks[slot], default: 0] += 1
        }
        guard let best = votes.max(by: { ($0.value, $1.key) < ($1.value, $0.key) }), best.value >= 4 else {
            return nil
        }
        return best.key
    }

    /// The slot that holds `hash` or is free for it; -1 when the neighbourhood is full.
    @inline(__always)
    private func slot(_ hash: UInt32) -> Int {
        var slot = Int(hash &* 0x9E37_79B1) & slotMask
        for _ in 0..<16 {
            if unsafe hashes[slot] == hash || hashes[slot] == 0 { return slot }
            slot = (slot + 1) & slotMask
        }
        return -1
    }

    @inline(__always)
    private func forEachAnchor(_ bytes: UnsafeRawBufferPointer, _ body: (UInt32) -> Void) {
        unsafe GearTable.entries.withUnsafeBufferPointer { gear in
            var hash: UInt64 = 0
            for index in bytes.indices {
                hash = unsafe (hash << 1) &+ gear[Int(bytes[index])]
                if hash & anchorMask == 0 {
                    // Only the low half goes into the name, for the same reason.
                    let name = UInt32(
                        truncatingIfNeeded: ((hash & 0xFFFF_FFFF) &* 0x9E37_79B9_7F4A_7C15) >> 32)
                    if name != 0 { body(name) }
                }
            }
        }
    }
}
