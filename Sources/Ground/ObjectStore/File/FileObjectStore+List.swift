import Glibc
import System

extension FileObjectStore {
    package func list(
        _ prefix: String, after: String?, _ body: (ObjectInfo) throws(ObjectStoreError) -> Bool
    ) throws(ObjectStoreError) {
        // Begin in the deepest folder that all keys with this prefix share.
        var folder = ""
        if let slash = prefix.lastIndex(of: "/") {
            folder = String(prefix[..<slash])
            guard ObjectKey(folder) != nil else { return }
        }
        _ = try walk(folder, Selection(prefix: prefix, after: after ?? ""), body)
    }

    /// Which keys a listing wants.
    private struct Selection {
        var prefix: String
        /// Empty for none: every key is greater.
        var after: String

        func contains(_ key: String) -> Bool { key.hasPrefix(prefix) && key > after }

        /// Whether a folder, given with its trailing slash, may hold a wanted key.
        func reaches(_ folder: String) -> Bool {
            guard folder.hasPrefix(prefix) || prefix.hasPrefix(folder) else { return false }
            return folder > after || after.hasPrefix(folder)
        }
    }

    private func walk(
        _ folder: String, _ selection: Selection, _ body: (ObjectInfo) throws(ObjectStoreError) -> Bool
    ) throws(ObjectStoreError) -> Bool {
        for name in try names(in: folder) {
            let key = folder.isEmpty ? name : "\(folder)/\(name)"
            if name.hasSuffix("/") {
                guard selection.reaches(key) else { continue }
                if try !walk(String(key.dropLast()), selection, body) { return false }
            } else if selection.contains(key), let key = ObjectKey(key), let info = try info(of: key) {
                if try !body(info) { return false }
            }
        }
        return true
    }

    /// The names in a folder in the order of the keys below them: those of folders end in a slash, which
    /// sorts after `-` and `.` and so is part of the order.
    private func names(in folder: String) throws(ObjectStoreError) -> [String] {
        let path = folder.isEmpty ? directory : path(folder)
        let entries: [DirectoryEntry]
        do throws(Errno) {
            entries = try files.list(path)
        } catch {
            let failure = failure(error, .list, folder)
            if failure.code == .notFound { return [] }
            throw failure
        }
        var names: [String] = []
        for entry in entries {
            let name = String(decoding: entry.name.bytes, as: UTF8.self)
            guard ObjectKey(name) != nil else { continue }
            names.append(isFolder(entry, in: path) ? name + "/" : name)
        }
        return names.sorted()
    }

    private func isFolder(_ entry: DirectoryEntry, in path: ByteString) -> Bool {
        switch Int(entry.type) {
        case Int(DT_DIR): return true
        case Int(DT_REG): return false
        default:
            // A symlink to a folder counts, as it does for a read.
            return (try? files.status(of: path.appending(entry.name).appending(".")))?.kind == .directory
        }
    }

    /// Nil for what is no object: it vanished meanwhile, or it is a device or the like.
    private func info(of key: ObjectKey) throws(ObjectStoreError) -> ObjectInfo? {
        do throws(Errno) {
            let status = try files.status(of: path(of: key))
            guard status.kind == .regular else { return nil }
            return ObjectInfo(key: key, size: status.size, modified: status.modified)
        } catch .noEntry {
            return nil
        } catch {
            throw failure(error, .list, key.text)
        }
    }
}
