package import DatasetStore
import ObjectStore
import Synchronization
import System

/// A pack's footer in memory, loaded by one thread while the others wait.
@safe final class FooterLoader: @unchecked Sendable {
    // Sendable: the pointer is written atomically, and its target never changes while somebody uses the container.
    private let loaded = unsafe Atomic<UnsafeMutablePointer<Loaded>?>(nil)
    private let isLoading = Monitor(false)

    @safe private struct Loaded {
        let footer: PackFooter
        let bytes: UnsafeMutableRawBufferPointer
    }

    deinit {
        guard let loaded = unsafe loaded.load(ordering: .acquiring) else { return }
        unsafe loaded.pointee.bytes.deallocate()
        unsafe loaded.deinitialize(count: 1)
        unsafe loaded.deallocate()
    }

    /// Bytes that the footer takes up; 0 while it is not known.
    var byteCount: Int { unsafe loaded.load(ordering: .acquiring)?.pointee.bytes.count ?? 0 }

    /// Forgets the footer. Only while nobody uses the container.
    func drop() {
        guard let old = unsafe loaded.exchange(nil, ordering: .acquiringAndReleasing) else { return }
        unsafe old.pointee.bytes.deallocate()
        unsafe old.deinitialize(count: 1)
        unsafe old.deallocate()
    }

    var known: PackFooter? {
        @inline(__always) get { unsafe loaded.load(ordering: .acquiring)?.pointee.footer }
    }

    /// Enters a footer, with the bytes that it borrows and that this object then owns. The first one stays.
    @discardableResult
    func publish(_ footer: PackFooter, _ bytes: UnsafeMutableRawBufferPointer) -> PackFooter {
        let box = UnsafeMutablePointer<Loaded>.allocate(capacity: 1)
        unsafe box.initialize(to: Loaded(footer: footer, bytes: bytes))
        let (isFirst, first) = unsafe loaded.compareExchange(
            expected: nil, desired: box, ordering: .acquiringAndReleasing)
        if isFirst { return footer }
        unsafe bytes.deallocate()
        unsafe box.deinitialize(count: 1)
        unsafe box.deallocate()
        return unsafe first?.pointee.footer ?? footer
    }

    /// The footer, published by `load` unless somebody did it already. One thread at a time loads.
    func get(_ load: () throws(CacheError) -> PackFooter) throws(CacheError) -> PackFooter {
        if let known { return known }
        // Whoever loads may be waiting for a store that is away.
        SlowWait.during {
            isLoading.wait { isLoading -> Void? in
                if isLoading { return nil }
                isLoading = true
                return ()
            }
        }
        defer {
            isLoading.withLock { $0 = false }
            isLoading.wake()
        }
        if let known { return known }
        return try load()
    }
}

extension Container {
    /// The pack's footer: fetched once, verified, and kept on disk. Valid while the container is in use. May block for a
    /// read of the store.
    package func footer() throws(CacheError) -> PackFooter {
        if let local = localFooter() { return local }
        return try footerLoader.get { () throws(CacheError) in try fetchFooter() }
    }

    /// Whether the footer is known and lists a chunk like this.
    func lists(_ chunk: Int, _ entry: ChunkEntry) -> Bool {
        guard let footer = footerLoader.known, chunk < footer.chunkCount else { return false }
        return footer[chunk].describesSame(as: entry)
    }

    /// The footer as far as this node has it. Never waits for the store.
    package func localFooter() -> PackFooter? {
        if let known = footerLoader.known { return known }
        guard let disk, disk.hasFooter else { return nil }
        // On the heap: a mapped one would raise SIGBUS when the disk fails, and cost a mapping each.
        // 64 bytes a chunk, dropped when it was not used for a while.
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Int(pack.footerLength), alignment: 64)
        if unsafe disk.readFooter(into: buffer),
            let footer = try? unsafe PackFooter(UnsafeRawBufferPointer(buffer), of: pack)
        {
            return unsafe footerLoader.publish(footer, buffer)
        }
        unsafe buffer.deallocate()
        return nil
    }

    /// Whether the whole pack costs little more to read than its footer.
    var isSmall: Bool {
        hasDisk && !pack.holdsReferences && pack.objectSize <= UInt64(max(0, context.options.smallPackBytes))
    }

    /// The footer, and the bytes of the whole pack if this call has read them to get it: only for packs that are small.
    func footerOrWhole() throws(CacheError) -> (footer: PackFooter, whole: FetchedBytes?) {
        if let local = localFooter() { return (local, nil) }
        var whole: FetchedBytes?
        let footer = try footerLoader.get { () throws(CacheError) in
            guard isSmall, let origin else { return try fetchFooter() }
            let bytes = FetchedBytes(count: Int(pack.objectSize))
            context.counters.fetchRequests.count()
            let outcome = Result { () throws(ObjectStoreError) in
                try SlowWait.during { () throws(ObjectStoreError) in
                    try unsafe origin.read(pack.key, from: 0, into: bytes.memory)
                }
            }
            // Damaged or cut short: what there is of it is found out part by part.
            if case .failure(let error) = outcome {
                if error.code == .truncated { return try fetchFooter() }
                throw CacheError(error)
            }
            context.counters.fetchedBytes.count(unsafe bytes.memory.count)
            let tail = UnsafeMutableRawBufferPointer.allocate(
                byteCount: Int(pack.footerLength), alignment: 64)
            unsafe tail.copyMemory(
                from: UnsafeRawBufferPointer(
                    rebasing: bytes.bytes[(bytes.bytes.count - Int(pack.footerLength))...]))
            guard let footer = try? unsafe PackFooter(UnsafeRawBufferPointer(tail), of: pack) else {
                unsafe tail.deallocate()
                return try fetchFooter()
            }
            unsafe disk?.persistFooter(UnsafeRawBufferPointer(tail), bitmap)
            whole = bytes
            return unsafe footerLoader.publish(footer, tail)
        }
        return (footer, whole)
    }

    private func fetchFooter() throws(CacheError) -> PackFooter {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Int(pack.footerLength), alignment: 64)
        do throws(CacheError) {
            return unsafe footerLoader.publish(try fetchFooter(into: buffer), buffer)
        } catch {
            unsafe buffer.deallocate()
            throw error
        }
    }

    private func fetchFooter(into buffer: UnsafeMutableRawBufferPointer) throws(CacheError) -> PackFooter {
        guard let origin else {
            throw CacheError.noStore(pack)
        }
        var attempt = 1
        while true {
            context.counters.fetchRequests.count()
            let outcome = Result { () throws(ObjectStoreError) in
                try SlowWait.during { () throws(ObjectStoreError) in
                    try unsafe origin.read(
                        pack.key, from: pack.objectSize - UInt64(pack.footerLength), into: buffer)
                }
            }
            if case .failure(let error) = outcome { throw CacheError(error) }
            context.counters.fetchedBytes.count(buffer.count)
            do throws(StoreError) {
                let footer = try unsafe PackFooter(UnsafeRawBufferPointer(buffer), of: pack)
                unsafe disk?.persistFooter(UnsafeRawBufferPointer(buffer), bitmap)
                return footer
            } catch {
                // Bytes may be hurt on the way: a second read tells that from a damaged object.
                attempt += 1
                if attempt > 2 { throw CacheError(error) }
            }
        }
    }
}

extension CacheError {
    static func noStore(_ pack: PackReference) -> CacheError {
        CacheError(
            .notFound, "the pack's store is not known", object: pack.key.text,
            remedy: "Read a snapshot that has the pack, through a mount or `kaml warm`")
    }

    /// A store's error seen from the cache.
    init(_ error: ObjectStoreError, chunk: Int? = nil) {
        let code: Code =
            switch error.code {
            case .notFound, .invalidKey: .notFound
            case .truncated, .tooLarge, .corrupt: .damaged
            case .changed: .changed
            case .unavailable: .unavailable
            case .permissionDenied: .permissionDenied
            case .notSupported: .unsupported
            case .alreadyExists, .noSpace, .inputOutput: .inputOutput
            }
        self.init(code, error.description, object: error.key, chunk: chunk)
    }

    init(_ error: StoreError) {
        let code: Code =
            switch error.code {
            case .damaged, .conflict: .damaged
            case .sourceChanged: .changed
            case .unsupported: .unsupported
            case .notFound, .invalidInput: .notFound
            case .unavailable: .unavailable
            case .permissionDenied: .permissionDenied
            case .noSpace, .inputOutput: .inputOutput
            }
        self.init(code, error.message, object: error.object, remedy: error.remedy)
        cause = error.cause
    }
}
