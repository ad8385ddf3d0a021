/// Bytes of a store's object in memory of their own.
@safe final class FetchedBytes: @unchecked Sendable {
    // Sendable: filled by one thread before others have it.
    let memory: UnsafeMutableRawBufferPointer
    var bytes: UnsafeRawBufferPointer { unsafe UnsafeRawBufferPointer(memory) }

    init(count: Int) { unsafe memory = .allocate(byteCount: count, alignment: 4096) }
    deinit { unsafe memory.deallocate() }
}
