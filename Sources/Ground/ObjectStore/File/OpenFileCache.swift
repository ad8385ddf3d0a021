import Synchronization
import System

/// A descriptor that several readers share; closed when the last lets it go.
final class OpenFile: Sendable {
    let descriptor: FileDescriptor

    init(_ descriptor: consuming FileDescriptor) { self.descriptor = descriptor }
}

/// The descriptors of the objects that were read last.
///
/// A pack is read in many ranges, and opening by path costs a walk of the path, on a network file system a
/// round trip. Objects are immutable, so an open descriptor is never out of date; one whose file was
/// unlinked is let go at its next use, so that a deleted object is seen as deleted and its space comes back.
final class OpenFileCache: Sendable {
    private struct Entry {
        var file: OpenFile
        var lastUse: UInt64
    }

    private struct State {
        var entries: [ObjectKey: Entry] = [:]
        var uses: UInt64 = 0
    }

    private let limit: Int
    private let state = Mutex(State())

    init(limit: Int) { self.limit = limit }

    func find(_ key: ObjectKey) -> OpenFile? {
        let found = state.withLock { state -> OpenFile? in
            state.uses &+= 1
            state.entries[key]?.lastUse = state.uses
            return state.entries[key]?.file
        }
        guard let found else { return nil }
        let links = (try? found.descriptor.status())?.linkCount ?? 0
        if links > 0 { return found }
        drop(key)
        return nil
    }

    func keep(_ file: OpenFile, as key: ObjectKey) {
        guard limit > 0 else { return }
        // What falls out is closed after the lock is released.
        let evicted = state.withLock { state -> OpenFile? in
            state.uses &+= 1
            var evicted: OpenFile?
            if state.entries.count >= limit, state.entries[key] == nil,
                let oldest = state.entries.min(by: { $0.value.lastUse < $1.value.lastUse })
            {
                evicted = state.entries.removeValue(forKey: oldest.key)?.file
            }
            state.entries[key] = Entry(file: file, lastUse: state.uses)
            return evicted
        }
        _ = evicted
    }

    func drop(_ key: ObjectKey) {
        let dropped = state.withLock { $0.entries.removeValue(forKey: key) }
        _ = dropped
    }
}
