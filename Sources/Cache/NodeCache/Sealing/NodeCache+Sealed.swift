package import System

/// What readers of a sealed cache need beside `fetch`.
extension NodeCache {
    /// Whether what the cache keeps is encrypted: containers then have no mapping and are not lent.
    package var isSealed: Bool { context.sealing != nil }

    /// Whether there is an encrypted cache in a directory, whoever uses it now.
    package static func isEncrypted(_ directory: ByteString) -> Bool {
        (try? HostFileSystem().status(of: CacheLayout(directory: directory).seal)) != nil
    }

    /// Runs `body` with buffers for one reply. Nil when libcrypto has no memory: `fetch` then has the bytes.
    @inline(__always)
    package func withSealBuffers<Value>(_ body: (SealBuffers) -> Value) -> Value? {
        context.sealing?.pool.with(body)
    }

    /// Whether a chunk waits in memory for its readers, who have it by `fetch`.
    package func isRecent(_ container: Container, _ chunk: Int) -> Bool {
        container.holdsRecent && scheduler.recent.holds(container, chunk)
    }
}
