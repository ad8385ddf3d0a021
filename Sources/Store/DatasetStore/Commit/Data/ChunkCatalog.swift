import Chunking
import ObjectStore
import Synchronization
import System

/// A chunk by the catalog's number of its pack.
struct ChunkPlace: Hashable, Sendable {
    var pack: UInt32
    var chunk: UInt32

    var next: ChunkPlace { ChunkPlace(pack: pack, chunk: chunk + 1) }
}

/// A pack that this commit writes.
final class OwnPack: @unchecked Sendable {
    // Sendable: entries grow only on the thread that has the assembly's turn; `reference` is set once, before
    // the threads that read it are started or after the publisher has ended.
    let id: PackID
    let layout: PackLayout
    fileprivate(set) var entries: [ChunkEntry] = []
    var reference: PackReference?

    init(id: PackID, layout: PackLayout) {
        self.id = id
        self.layout = layout
    }
}

/// Which chunks the store has, as far as a commit looks: those of the parent's packs, of packs that no
/// commit names, and its own. 16 bytes a chunk in a table at most 3/5 full.
///
/// Loaded when the first new file asks, since a commit that changes nothing needs none of it.
final class ChunkCatalog: Sendable {
    private enum Pack {
        case known(PackReference)
        case own(OwnPack)
    }

    private struct State {
        var packs: [Pack] = []
        var numbers: [PackID: UInt32] = [:]
        var table = ChunkTable()
    }

    private let state = Mutex(State())
    private let loading = Mutex<Bool>(false)
    private let footers: PackFooters
    private let load: @Sendable (ChunkCatalog) throws(StoreError) -> Void

    /// `load` adds the known packs, once, before the first look-up.
    init(_ footers: PackFooters, load: @escaping @Sendable (ChunkCatalog) throws(StoreError) -> Void) {
        self.footers = footers
        self.load = load
    }

    private func loadOnce() throws(StoreError) {
        try loading.withLock { isLoaded throws(StoreError) in
            if isLoaded { return }
            try load(self)
            isLoaded = true
        }
    }

    /// The number of a pack of the store, made when it has none.
    func number(of pack: PackReference) -> UInt32 {
        state.withLock { state in
            if let number = state.numbers[pack.id] { return number }
            let number = UInt32(state.packs.count)
            state.packs.append(.known(pack))
            state.numbers[pack.id] = number
            return number
        }
    }

    func add(_ own: OwnPack) -> UInt32 {
        state.withLock { state in
            state.packs.append(.own(own))
            return UInt32(state.packs.count - 1)
        }
    }

    /// Adds a pack's chunks to the table. Those of a reference pack are never reused: their objects may change.
    func index(_ pack: PackReference) throws(StoreError) {
        if pack.holdsReferences { return }
        try footers.with(pack) { footer in
            let number = number(of: pack)
            state.withLock { state in
                for chunk in 0..<footer.chunkCount {
                    state.table.insert(
                        footer[chunk].hash.tableWord, ChunkPlace(pack: number, chunk: UInt32(chunk)))
                }
            }
        }
    }

    /// Records a chunk that was appended to an own pack; `findable` also makes it a candidate for others.
    func append(_ entry: ChunkEntry, to own: OwnPack, number: UInt32, findable: Bool) -> ChunkPlace {
        state.withLock { state in
            let place = ChunkPlace(pack: number, chunk: UInt32(own.entries.count))
            own.entries.append(entry)
            if findable { state.table.insert(entry.hash.tableWord, place) }
            return place
        }
    }

    /// Makes all chunks of an own pack candidates.
    func index(_ own: OwnPack, number: UInt32) {
        state.withLock { state in
            for (index, entry) in own.entries.enumerated() {
                state.table.insert(entry.hash.tableWord, ChunkPlace(pack: number, chunk: UInt32(index)))
            }
        }
    }

    /// Where a chunk of this hash lies in a pack of this layout; of many places, any.
    func find(_ hash: ContentHash, _ layout: PackLayout) throws(StoreError) -> ChunkPlace? {
        for place in try candidates(hash, layout) where try entry(place).hash == hash { return place }
        return nil
    }

    /// All places where a chunk of this hash lies in a pack of this layout; of very many, some.
    func findAll(_ hash: ContentHash, _ layout: PackLayout) throws(StoreError) -> [ChunkPlace] {
        var places: [ChunkPlace] = []
        for place in try candidates(hash, layout) where try entry(place).hash == hash { places.append(place) }
        return places
    }

    private func candidates(_ hash: ContentHash, _ layout: PackLayout) throws(StoreError) -> [ChunkPlace] {
        try loadOnce()
        return state.withLock { state in
            state.table.candidates(hash.tableWord).filter { place in
                switch state.packs[Int(place.pack)] {
                case .known(let pack): pack.layout == layout
                case .own(let own): own.layout == layout
                }
            }
        }
    }

    /// A chunk as its pack's footer lists it.
    func entry(_ place: ChunkPlace) throws(StoreError) -> ChunkEntry {
        let pack = state.withLock { state -> Result<PackReference, OwnEntry> in
            switch state.packs[Int(place.pack)] {
            case .known(let pack): .success(pack)
            case .own(let own): .failure(OwnEntry(entry: own.entries[Int(place.chunk)]))
            }
        }
        switch pack {
        case .success(let pack): return try footers.with(pack) { $0[Int(place.chunk)] }
        case .failure(let own): return own.entry
        }
    }

    private struct OwnEntry: Error { var entry: ChunkEntry }

    /// The reference of a numbered pack; nil for an own one that is not published.
    func reference(_ number: UInt32) -> PackReference? {
        state.withLock { state in
            switch state.packs[Int(number)] {
            case .known(let pack): pack
            case .own(let own): own.reference
            }
        }
    }
}

/// Open addressing over hash words; the same word may stand several times.
private struct ChunkTable {
    private struct Slot {
        var word: UInt64
        var pack: UInt32
        /// Plus one; 0 marks a free slot.
        var chunk: UInt32
    }

    private var slots: [Slot] = []
    private var count = 0

    mutating func insert(_ word: UInt64, _ place: ChunkPlace) {
        if count * 5 >= slots.count * 3 { grow() }
        count += 1
        put(Slot(word: word, pack: place.pack, chunk: place.chunk + 1))
    }

    func candidates(_ word: UInt64) -> [ChunkPlace] {
        guard !slots.isEmpty else { return [] }
        let mask = slots.count - 1
        var index = Int(truncatingIfNeeded: word) & mask
        var found: [ChunkPlace] = []
        while slots[index].chunk != 0 {
            if slots[index].word == word {
                found.append(ChunkPlace(pack: slots[index].pack, chunk: slots[index].chunk - 1))
                // Many equal chunks are all the same to the caller.
                if found.count == 8 { break }
            }
            index = (index + 1) & mask
        }
        return found
    }

    private mutating func put(_ slot: Slot) {
        let mask = slots.count - 1
        var index = Int(truncatingIfNeeded: slot.word) & mask
        while slots[index].chunk != 0 { index = (index + 1) & mask }
        slots[index] = slot
    }

    private mutating func grow() {
        let old = slots
        slots = Array(repeating: Slot(word: 0, pack: 0, chunk: 0), count: max(1 << 10, old.count * 2))
        for slot in old where slot.chunk != 0 { put(slot) }
    }
}
