package import ObjectStore
import System

/// What lies in a store's folder for objects that are being written: of commits that run, or that were killed.
package struct TemporaryObjects: Sendable, Hashable {
    package var files = 0
    package var bytes: UInt64 = 0

    private static let folder: ByteString = ".tmp"
    /// No writer lets its file alone for a day.
    private static let abandonedSeconds: Int64 = 24 * 3600

    package init(files: Int = 0, bytes: UInt64 = 0) {
        self.files = files
        self.bytes = bytes
    }

    /// Nothing where the store has no such folder.
    package init(of objects: any ObjectStore) {
        guard let store = objects as? FileObjectStore else { return }
        let folder = store.directory.appending(Self.folder)
        let system = HostFileSystem()
        for entry in (try? system.list(folder)) ?? [] {
            guard let status = try? system.status(of: folder.appending(entry.name)), status.kind == .regular
            else { continue }
            files += 1
            bytes += status.size
        }
    }

    /// Makes the room of killed commits free; one that cannot be removed keeps nobody from working.
    package static func removeAbandoned(from objects: any ObjectStore) {
        _ = try? (objects as? FileObjectStore)?.removeAbandoned(olderThan: abandonedSeconds)
    }
}
