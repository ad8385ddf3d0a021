import System

/// Memory in which the answer to a readdir is put together. Shared by all sessions, since it is needed for the time of
/// one request: with one for each worker a thousand mounts that were listed once would keep 100 MB.
@safe final class ListingBuffer: @unchecked Sendable {
    // Sendable: in the hands of one thread at a time.
    let bytes: UnsafeMutableRawBufferPointer
    /// A name with its NUL.
    let name: UnsafeMutableBufferPointer<CChar>

    /// The kernel asks for as much of a directory as getdents64(2) was given room for: 32 KiB from glibc.
    private static let size = 128 << 10
    private static let mostKept = 16
    private static let kept = Monitor<[ListingBuffer]>([])

    private init() {
        unsafe bytes = .allocate(byteCount: Self.size, alignment: 4096)
        unsafe name = .allocate(capacity: Limits.nameBytes + 1)
        unsafe name.initialize(repeating: 0)
    }

    deinit {
        unsafe bytes.deallocate()
        unsafe name.deallocate()
    }

    static func use(_ body: (ListingBuffer) -> Void) {
        let buffer = kept.withLock { $0.popLast() } ?? ListingBuffer()
        body(buffer)
        kept.withLock { if $0.count < mostKept { $0.append(buffer) } }
    }
}
