import Glibc
import Synchronization
import System

/// What this process knows to be durable about a store's folders.
final class DurableFolders: Sendable {
    private let known = Mutex<Set<String>>([])
    private let hasWritten = Atomic(false)

    func contains(_ folder: String) -> Bool { known.withLock { $0.contains(folder) } }
    func insert(_ folder: String) { known.withLock { _ = $0.insert(folder) } }
    /// For when a folder turned out to be gone.
    func forgetAll() { known.withLock { $0.removeAll() } }

    /// True for the first caller only.
    func isFirstWriter() -> Bool { !hasWritten.exchange(true, ordering: .relaxed) }
}

extension FileObjectStore {
    /// Gives a written and synced temporary file the name of `key`, unless that is taken, and makes the name
    /// durable. The temporary name stays; the caller removes it.
    func place(
        _ temporary: ByteString, as key: ObjectKey
    ) throws(ObjectStoreError) -> CreateOutcome {
        try makeFolders(of: key)
        let outcome: CreateOutcome
        do throws(Errno) {
            outcome = try linkOrRename(temporary, path(of: key))
        } catch .noEntry {
            // The folder vanished since it was made: the store's directory went away or was replaced.
            folders.forgetAll()
            try makeFolders(of: key)
            do throws(Errno) {
                outcome = try linkOrRename(temporary, path(of: key))
            } catch {
                throw failure(error, .publish, key.text)
            }
        } catch {
            throw failure(error, .publish, key.text)
        }
        try makeNameDurable(key)
        return outcome
    }

    /// Syncs the folder that holds `key`. Needed for a key that was found to exist, too: whoever made it may
    /// have died between the link and the sync, and the caller is about to build on it.
    func makeNameDurable(_ key: ObjectKey) throws(ObjectStoreError) {
        try makeFolders(of: key)
        do throws(Errno) {
            try files.syncDirectory(folderPath(of: key))
        } catch {
            // The name may stand or not after a power cut, so nothing may be acknowledged. A second sync
            // could report success without having written anything, so there is none.
            throw failure(error, .publish, key.text, detail: "its name could not be made durable")
        }
    }

    private func linkOrRename(_ temporary: ByteString, _ name: ByteString) throws(Errno) -> CreateOutcome {
        do throws(Errno) {
            try files.link(temporary, name)
            return .created
        } catch .alreadyExists {
            // An NFS client that repeats a LINK whose answer was lost gets EEXIST for its own success. Nobody
            // else links the temporary file, so a second link is ours.
            let links = (try? files.status(of: temporary))?.linkCount ?? 1
            return links > 1 ? .created : .exists
        } catch {
            guard [.notPermitted, .notSupported, .noSystemCall, .tooManyLinks].contains(error) else { throw error }
            return try renameWithoutLinks(temporary, name)
        }
    }

    /// For file systems without hard links. Where the kernel cannot rename exclusively either, the store
    /// refuses: everything else could lose a record to a race.
    private func renameWithoutLinks(_ temporary: ByteString, _ name: ByteString) throws(Errno) -> CreateOutcome {
        do throws(Errno) {
            try files.renameExclusively(temporary, name)
            return .created
        } catch .alreadyExists {
            return .exists
        }
    }

    /// Makes the folders above `key` and their names durable, once in this process for each folder: one that
    /// is there already may have been made by a process that died before its sync.
    private func makeFolders(of key: ObjectKey) throws(ObjectStoreError) {
        let segments = key.text.split(separator: "/").dropLast()
        var parent = ""
        for segment in segments {
            let folder = parent.isEmpty ? String(segment) : "\(parent)/\(segment)"
            if !folders.contains(folder) {
                do throws(Errno) {
                    try makeFolder(folder)
                    try files.syncDirectory(parent.isEmpty ? directory : path(parent))
                } catch {
                    throw failure(error, .publish, key.text, detail: "in its folder \(folder)")
                }
                folders.insert(folder)
            }
            parent = folder
        }
    }

    func makeFolder(_ folder: String) throws(Errno) {
        do throws(Errno) {
            try files.makeDirectory(path(folder), mode: 0o755)
        } catch .alreadyExists {
        }
    }

    private func folderPath(of key: ObjectKey) -> ByteString {
        guard let slash = key.text.lastIndex(of: "/") else { return directory }
        return path(String(key.text[..<slash]))
    }
}
