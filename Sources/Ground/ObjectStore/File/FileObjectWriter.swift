import Glibc
import System

/// Writes an object as a temporary file.
final class FileObjectWriter: ObjectWriter, @unchecked Sendable {
    // Sendable: used by one thread at a time, as the protocol says.

    /// Bytes between two calls that start writeback. Large enough to cost nothing, small enough that little
    /// is left for the sync at the end.
    private static let writebackStep: UInt64 = 8 << 20
    /// Smaller appends than a quarter of this are gathered, so that a pack of small chunks does not cost a system call each.
    private static let bufferBytes = 256 << 10

    private let store: FileObjectStore
    private let key: ObjectKey
    private let operation: ObjectStoreError.Operation
    private let temporary: ByteString
    /// Nil once the writer is spent.
    private var file: OpenFile?
    private var gathered: [UInt8] = []
    /// Bytes that were handed to the file system.
    private var flushed: UInt64 = 0
    private var writebackStarted: UInt64 = 0

    var bytesWritten: UInt64 { flushed &+ UInt64(gathered.count) }

    init(
        _ store: FileObjectStore, _ key: ObjectKey, operation: ObjectStoreError.Operation
    ) throws(ObjectStoreError) {
        self.store = store
        self.key = key
        self.operation = operation
        do throws(Errno) {
            (temporary, file) = try store.openTemporary()
        } catch {
            throw store.failure(error, operation, key.text)
        }
    }

    deinit { abandon() }

    func append(_ bytes: UnsafeRawBufferPointer) throws(ObjectStoreError) {
        if bytes.count < Self.bufferBytes / 4 {
            unsafe gathered.append(contentsOf: bytes)
            if gathered.count >= Self.bufferBytes { try flush() }
        } else {
            try flush()
            try unsafe write(bytes)
        }
    }

    func publish() throws(ObjectStoreError) -> CreateOutcome {
        // Whatever fails, the file is thrown away: after a failed write or sync nobody knows what of it
        // is on the disk, and a second sync may report success for pages the first one dropped.
        defer { abandon() }
        try flush()
        let file = try openFile()
        do throws(Errno) {
            try store.files.sync(file.descriptor)
        } catch {
            throw store.failure(
                error, operation, key.text, detail: "it could not be synced and was thrown away")
        }
        return try store.place(temporary, as: key)
    }

    func abandon() {
        guard file != nil else { return }
        file = nil
        gathered = []
        // Gone already after an exclusive rename. What cannot be removed now, `removeAbandoned` removes.
        try? store.files.unlink(temporary)
    }

    private func flush() throws(ObjectStoreError) {
        guard !gathered.isEmpty else { return }
        let pending = gathered
        gathered.removeAll(keepingCapacity: false)
        let outcome = unsafe pending.withUnsafeBytes { bytes in
            Result { () throws(ObjectStoreError) in try unsafe write(bytes) }
        }
        try outcome.get()
    }

    private func write(_ bytes: UnsafeRawBufferPointer) throws(ObjectStoreError) {
        let file = try openFile()
        do throws(Errno) {
            try unsafe store.files.write(file.descriptor, bytes, at: flushed)
        } catch {
            throw store.failure(error, operation, key.text)
        }
        flushed &+= UInt64(bytes.count)
        if flushed - writebackStarted >= Self.writebackStep {
            store.files.startWriteback(
                file.descriptor, from: writebackStarted, count: flushed - writebackStarted)
            writebackStarted = flushed
        }
    }

    private func openFile() throws(ObjectStoreError) -> OpenFile {
        guard let file else {
            throw ObjectStoreError(
                .inputOutput, operation, key: key.text, location: store.location,
                detail: "its writer was published or abandoned before")
        }
        return file
    }
}
