import Chunking
import ObjectStore
import Synchronization

/// A validated footer and the memory it lies in.
final class LoadedFooter: @unchecked Sendable {
    // Sendable: written only before anybody else has it.
    let footer: PackFooter
    private let bytes: UnsafeMutableRawBufferPointer

    init(_ pack: PackReference, from store: any ObjectStore) throws(StoreError) {
        let count = Int(pack.footerLength)
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 64)
        do throws(StoreError) {
            do throws(ObjectStoreError) {
                try store.read(pack.key, from: pack.objectSize - UInt64(count), into: buffer)
            } catch { throw StoreError(error) }
            footer = try PackFooter(UnsafeRawBufferPointer(buffer), of: pack)
        } catch {
            buffer.deallocate()
            throw error
        }
        bytes = buffer
    }

    deinit { bytes.deallocate() }

    var byteCount: Int { bytes.count }
}

/// The footers of a store's packs, read when they are first needed and kept within a budget: files lie in
/// their packs in directory order, so a walk over manifests asks for the same few again and again.
final class FooterTable: Sendable {
    private struct State {
        var loaded: [PackID: LoadedFooter] = [:]
        var order: [PackID] = []
        var bytes = 0
    }

    private let store: any ObjectStore
    private let budget: Int
    private let state = Mutex(State())

    init(_ store: any ObjectStore, budget: Int = 256 << 20) {
        self.store = store
        self.budget = budget
    }

    func footer(of pack: PackReference) throws(StoreError) -> LoadedFooter {
        if let known = state.withLock({ $0.loaded[pack.id] }), known.footer.pack == pack { return known }
        let loaded = try LoadedFooter(pack, from: store)
        state.withLock { state in
            guard state.loaded.updateValue(loaded, forKey: pack.id) == nil else { return }
            state.order.append(pack.id)
            state.bytes += loaded.byteCount
            while state.bytes > budget, state.order.count > 1 {
                let oldest = state.order.removeFirst()
                state.bytes -= state.loaded.removeValue(forKey: oldest)?.byteCount ?? 0
            }
        }
        return loaded
    }
}
