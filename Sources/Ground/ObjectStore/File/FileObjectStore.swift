import Glibc
package import System

/// A store in a directory of a local or network file system.
///
/// An object is a file at its key's path, mode 0444. It is written as `.tmp/<random>`, synced, and then
/// linked to its name (link(2) fails where rename(2) would replace), so a reader sees all of it or nothing and
/// of two creators one wins. Names with a leading dot are no keys, so `.tmp` is never listed.
///
/// Files are opened by path: a store whose directory goes away answers `unavailable` and works again when
/// the directory is back. The directory itself is never made by a write (it may be a mount point that is not
/// mounted), only by `createDirectory`.
package final class FileObjectStore: ObjectStore {
    /// The store's directory, an absolute path.
    package let directory: ByteString
    package let location: String

    let files: any FileSystem
    let clock: any Clock
    let random: any RandomSource
    let openFiles: OpenFileCache
    let folders = DurableFolders()

    /// Does no I/O.
    package init(
        _ directory: ByteString, files: any FileSystem = HostFileSystem(), clock: any Clock = HostClock(),
        random: any RandomSource = HostRandom(), openFileLimit: Int = 32
    ) {
        self.directory = directory
        location = ObjectStoreURL.directory(directory).description
        self.files = files
        self.clock = clock
        self.random = random
        openFiles = OpenFileCache(limit: openFileLimit)
    }

    /// Makes the store's directory and its missing parents, durably. One that is there is left as it is.
    package func createDirectory() throws(ObjectStoreError) {
        do throws(Errno) {
            try files.makeDirectories(directory)
        } catch {
            throw ObjectStoreError(.init(error), .open, key: "", location: location, cause: error)
        }
    }

    package func size(of key: ObjectKey) throws(ObjectStoreError) -> UInt64? {
        do throws(Errno) {
            let file = try files.open(path(of: key), O_RDONLY)
            let status = try files.status(of: file)
            return status.kind == .regular ? status.size : nil
        } catch {
            let failure = failure(error, .size, key.text)
            if failure.code == .notFound { return nil }
            throw failure
        }
    }

    package func read(
        _ key: ObjectKey, from offset: UInt64, into buffer: UnsafeMutableRawBufferPointer
    ) throws(ObjectStoreError) {
        let count: Int
        do throws(Errno) {
            count = try unsafe readOpen(key, from: offset, into: buffer)
        } catch {
            throw failure(error, .read, key.text)
        }
        guard count == buffer.count else {
            throw ObjectStoreError(
                .truncated, .read, key: key.text, location: location,
                detail: "\(count) of \(buffer.count) bytes at offset \(offset)")
        }
    }

    /// Reads through a descriptor kept from an earlier read. One that fails is dropped and the file is opened
    /// again by path, so a network file system that came back (ESTALE before) goes on by itself.
    private func readOpen(
        _ key: ObjectKey, from offset: UInt64, into buffer: UnsafeMutableRawBufferPointer
    ) throws(Errno) -> Int {
        if let kept = openFiles.find(key) {
            do throws(Errno) {
                return try unsafe files.read(kept.descriptor, into: buffer, at: offset)
            } catch {
                openFiles.drop(key)
            }
        }
        let file = OpenFile(try files.open(path(of: key), O_RDONLY))
        let count = try unsafe files.read(file.descriptor, into: buffer, at: offset)
        openFiles.keep(file, as: key)
        return count
    }

    package func readAll(_ key: ObjectKey, limit: Int) throws(ObjectStoreError) -> [UInt8] {
        do throws(Errno) {
            let file = try files.open(path(of: key), O_RDONLY)
            let size = try files.status(of: file).size
            guard let count = Int(exactly: size), count <= limit else {
                throw .fileTooLarge
            }
            var bytes = [UInt8](repeating: 0, count: count)
            let filled = unsafe bytes.withUnsafeMutableBytes { buffer in
                Result { () throws(Errno) in try unsafe files.read(file, into: buffer, at: 0) }
            }
            // An object never shrinks; one that did is told by its reader's checksum.
            bytes.removeLast(count - (try filled.get()))
            return bytes
        } catch .fileTooLarge {
            throw ObjectStoreError(
                .tooLarge, .read, key: key.text, location: location, detail: "the limit is \(limit) bytes")
        } catch {
            throw failure(error, .read, key.text)
        }
    }

    package func createIfAbsent(
        _ key: ObjectKey, _ bytes: UnsafeRawBufferPointer
    ) throws(ObjectStoreError) -> CreateOutcome {
        // Saves the write and its sync in the common case of a lost race; the link below decides all others.
        if (try? files.status(of: path(of: key)))?.kind == .regular {
            try makeNameDurable(key)
            return .exists
        }
        let writer = try FileObjectWriter(self, key, operation: .create)
        try unsafe writer.append(bytes)
        return try writer.publish()
    }

    package func makeDurable(_ key: ObjectKey) throws(ObjectStoreError) { try makeNameDurable(key) }

    package func makeWriter(_ key: ObjectKey) throws(ObjectStoreError) -> any ObjectWriter {
        if folders.isFirstWriter() { _ = try? removeAbandoned(olderThan: Self.abandonedAge) }
        return try FileObjectWriter(self, key, operation: .write)
    }

    /// Removes the object. Not durable by itself: after a power cut it may be back.
    package func delete(_ key: ObjectKey) throws(ObjectStoreError) {
        openFiles.drop(key)
        do throws(Errno) {
            try files.unlink(path(of: key))
        } catch {
            let failure = failure(error, .delete, key.text)
            if failure.code != .notFound { throw failure }
        }
    }
}

extension FileObjectStore {
    func path(of key: ObjectKey) -> ByteString { path(key.text) }

    func path(_ relative: String) -> ByteString {
        var bytes = directory.bytes
        bytes.reserveCapacity(bytes.count + relative.utf8.count + 1)
        if bytes.last != UInt8(ascii: "/") { bytes.append(UInt8(ascii: "/")) }
        bytes.append(contentsOf: relative.utf8)
        return ByteString(bytes)
    }

    /// The error for a failed call on `key`. A name that is missing means something else when the whole store
    /// is missing.
    func failure(
        _ errno: Errno, _ operation: ObjectStoreError.Operation, _ key: String, detail: String = ""
    ) -> ObjectStoreError {
        if errno == .noEntry || errno == .notDirectory, !directoryIsThere() {
            return ObjectStoreError(
                .unavailable, operation, key: key, location: location, cause: errno,
                detail: "the store's directory is not there")
        }
        return ObjectStoreError(
            .init(errno), operation, key: key, location: location, cause: errno, detail: detail)
    }

    private func directoryIsThere() -> Bool {
        // With "/." a symlink to the directory counts.
        (try? files.status(of: path(".")))?.kind == .directory
    }
}
