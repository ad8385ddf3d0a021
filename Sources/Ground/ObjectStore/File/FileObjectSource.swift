import Glibc
package import System

/// The regular files below a directory, as a source of imports.
///
/// Symlinks are not followed, here or later: whoever may write into the tree must not make this process read what lies
/// outside of it. Everything that is neither a file nor a directory is left out.
package final class FileObjectSource: ObjectSource {
    package let directory: ByteString
    package let location: String

    private static let pieceBytes = 1 << 20
    /// Directories inside of each other; a path has at most 4096 bytes.
    private static let maximumDepth = 2048

    /// Does no I/O. `directory` is an absolute path.
    package init(_ directory: ByteString) {
        self.directory = directory
        location = ObjectStoreURL.directory(directory).description
    }

    package func list(_ body: (SourceObject) throws(ObjectStoreError) -> Bool) throws(ObjectStoreError) {
        let root = try open(root: .list)
        _ = try walk(root, "", depth: 0, body)
    }

    package func read(
        _ key: ByteString, _ version: ObjectVersion, _ range: Range<UInt64>,
        _ body: (UnsafeRawBufferPointer) throws(ObjectStoreError) -> Bool
    ) throws(ObjectStoreError) {
        let root = try open(root: .read)
        let file = try open(key, version, in: root)
        let buffer = UnsafeMutableRawBufferPointer.allocate(
            byteCount: Int(min(UInt64(Self.pieceBytes), UInt64(range.count))), alignment: 4096)
        defer { unsafe buffer.deallocate() }
        var offset = range.lowerBound
        while offset < range.upperBound {
            let piece = unsafe UnsafeMutableRawBufferPointer(
                rebasing: buffer.prefix(Int(min(UInt64(buffer.count), range.upperBound - offset))))
            let count: Int
            do throws(Errno) {
                count = try unsafe file.read(into: piece, at: offset)
                // After the read: bytes of another version must not be handed over as this one's.
                try Self.mustHave(version, file)
            } catch {
                throw failure(error, key)
            }
            guard count == piece.count else {
                throw ObjectStoreError(
                    .truncated, .read, key: key.description, location: location,
                    detail: "\(count) of \(piece.count) bytes at offset \(offset)")
            }
            offset += UInt64(count)
            guard try unsafe body(UnsafeRawBufferPointer(piece)) else { return }
        }
    }

    package func find(_ key: ByteString) throws(ObjectStoreError) -> SourceObject? {
        let root = try open(root: .list)
        do throws(Errno) {
            let file = try FileDescriptor.open(beneath: root.rawValue, key, O_RDONLY | O_NONBLOCK)
            let status = try file.status()
            guard status.kind == .regular else { return nil }
            return SourceObject(
                key: key, size: status.size, modified: status.modified, version: Self.version(status))
        } catch {
            if [.noEntry, .notDirectory, .loop].contains(error) { return nil }
            throw failure(error, key, .list)
        }
    }

    private func open(
        _ key: ByteString, _ version: ObjectVersion, in root: borrowing FileDescriptor
    ) throws(ObjectStoreError) -> FileDescriptor {
        do throws(Errno) {
            let file = try FileDescriptor.open(beneath: root.rawValue, key, O_RDONLY | O_NONBLOCK)
            try Self.mustHave(version, file)
            return file
        } catch {
            throw failure(error, key)
        }
    }

    /// The version of a file. Whatever changes its bytes changes one of these, but for a change of the same size within
    /// one tick of the file system's clock (some milliseconds) after the listing.
    package static func version(_ status: FileStatus) -> ObjectVersion {
        func text(_ time: Timestamp) -> String {
            let digits = String(time.nanoseconds)
            return "\(time.seconds).\(String(repeating: "0", count: max(0, 9 - digits.utf8.count)))\(digits)"
        }
        return ObjectVersion(
            tag: "\(status.size)-\(text(status.modified))-\(text(status.changed))-\(status.inode)")
    }

    private static func mustHave(
        _ version: ObjectVersion, _ file: borrowing FileDescriptor
    ) throws(Errno) {
        let status = try file.status()
        guard status.kind == .regular, self.version(status) == version else { throw .stale }
    }

    // MARK: - Listing

    /// False when `body` said that it has enough.
    private func walk(
        _ folder: borrowing FileDescriptor, _ path: ByteString, depth: Int,
        _ body: (SourceObject) throws(ObjectStoreError) -> Bool
    ) throws(ObjectStoreError) -> Bool {
        guard depth < Self.maximumDepth else {
            throw ObjectStoreError(
                .notSupported, .list, key: path.description, location: location,
                detail: "its directories lie too deep")
        }
        for (name, isFolder) in try names(in: folder, path) {
            let key = path.appending(name)
            if isFolder {
                guard let inner = try openFolder(name, in: folder, key) else { continue }
                guard try walk(inner, key, depth: depth + 1, body) else { return false }
                continue
            }
            let status: FileStatus
            do throws(Errno) {
                status = try unsafe name.withCString { name throws(Errno) in
                    try unsafe FileStatus.of(name, in: folder.rawValue)
                }
            } catch .noEntry {
                continue
            } catch {
                throw failure(error, key, .list)
            }
            guard status.kind == .regular else { continue }
            let object = SourceObject(
                key: key, size: status.size, modified: status.modified, version: Self.version(status))
            guard try body(object) else { return false }
        }
        return true
    }

    /// Nil for one that is gone, or is no directory any more.
    private func openFolder(
        _ name: ByteString, in folder: borrowing FileDescriptor, _ path: ByteString
    ) throws(ObjectStoreError) -> FileDescriptor? {
        do throws(Errno) {
            return try FileDescriptor.open(beneath: folder.rawValue, name, O_RDONLY | O_DIRECTORY)
        } catch {
            if error == .noEntry || error == .notDirectory || error == .loop { return nil }
            throw failure(error, path, .list)
        }
    }

    /// In the byte order of the keys below them: a folder sorts as if its name ended in a slash.
    private func names(
        in folder: borrowing FileDescriptor, _ path: ByteString
    ) throws(ObjectStoreError) -> [(ByteString, isFolder: Bool)] {
        do throws(Errno) {
            var names: [(ByteString, isFolder: Bool)] = []
            for entry in try DirectoryReader.entries(of: folder) {
                var isFolder = Int(entry.type) == Int(DT_DIR)
                if Int(entry.type) == Int(DT_UNKNOWN) {
                    let status = try unsafe entry.name.withCString { name throws(Errno) in
                        try unsafe FileStatus.of(name, in: folder.rawValue)
                    }
                    isFolder = status.kind == .directory
                }
                names.append((entry.name, isFolder))
            }
            let slash = UInt8(ascii: "/")
            return names.map { ($0.isFolder ? ByteString($0.0.bytes + [slash]) : $0.0, $0) }
                .sorted { $0.0 < $1.0 }.map(\.1)
        } catch {
            throw failure(error, path, .list)
        }
    }

    // MARK: - Errors

    private func open(root operation: ObjectStoreError.Operation) throws(ObjectStoreError) -> FileDescriptor {
        do throws(Errno) { return try FileDescriptor.open(directory, O_RDONLY | O_DIRECTORY) } catch {
            throw ObjectStoreError(
                error == .noEntry || error == .notDirectory ? .unavailable : .init(error), operation, key: "",
                location: location, cause: error, detail: "the source's directory cannot be opened",
                advice: "check that its disk is mounted, and its owner and mode")
        }
    }

    private func failure(
        _ errno: Errno, _ key: ByteString, _ operation: ObjectStoreError.Operation = .read
    ) -> ObjectStoreError {
        // A name that leads elsewhere now, or nowhere, is a change like others.
        let changes: Set<Errno> = [.noEntry, .notDirectory, .loop, .isDirectory, .stale]
        let code: ObjectStoreError.Code =
            operation == .read && changes.contains(errno) ? .changed : .init(errno)
        return ObjectStoreError(
            code, operation, key: key.description, location: location,
            cause: code == .changed ? nil : errno)
    }
}
