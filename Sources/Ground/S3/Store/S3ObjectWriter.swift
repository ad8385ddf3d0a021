import HTTPExchange
import ObjectStore
import System

/// An object on its way into a bucket: one PUT when it is small, else parts that are uploaded while more is appended.
final class S3ObjectWriter: ObjectWriter, @unchecked Sendable {
    // Sendable: used by one thread at a time, as the protocol says.

    /// Large enough that a request's latency does not count, small enough that a few in memory do not either. S3 takes
    /// 10,000 parts, so objects of up to 80 GiB.
    static let partBytes = 8 << 20

    private let store: S3ObjectStore
    private let key: ObjectKey
    private let writeID: String
    private var buffer: [UInt8] = []
    private var upload: MultipartUpload?
    private var isSpent = false
    private(set) var bytesWritten: UInt64 = 0

    init(_ store: S3ObjectStore, _ key: ObjectKey) {
        self.store = store
        self.key = key
        writeID = store.newWriteID()
    }

    deinit { abandon() }

    func append(_ bytes: UnsafeRawBufferPointer) throws(ObjectStoreError) {
        guard !isSpent else {
            throw ObjectStoreError(
                .inputOutput, .write, key: key.text, location: store.location, detail: "the writer is spent")
        }
        var done = 0
        while done < bytes.count {
            // Only now is it known that more comes, so a part is never empty and a small object needs none.
            if buffer.count == Self.partBytes { try uploadPart() }
            let count = min(bytes.count - done, Self.partBytes - buffer.count)
            unsafe buffer.append(contentsOf: bytes[done..<(done + count)])
            done += count
            bytesWritten += UInt64(count)
        }
    }

    func publish() throws(ObjectStoreError) -> CreateOutcome {
        guard !isSpent else {
            throw ObjectStoreError(
                .inputOutput, .publish, key: key.text, location: store.location,
                detail: "the writer is spent")
        }
        defer { abandon() }
        guard let upload else {
            let bytes = buffer
            let outcome = unsafe bytes.withUnsafeBytes { bytes in
                Result { () throws(S3Failure) in try unsafe store.put(key, bytes, writeID) }
            }
            do throws(S3Failure) { return try outcome.get() } catch {
                throw store.failure(error, .publish, key)
            }
        }
        if !buffer.isEmpty { try uploadPart() }
        let outcome = try upload.complete()
        if outcome == .created { self.upload = nil }
        return outcome
    }

    func abandon() {
        isSpent = true
        buffer = []
        upload?.abort()
        upload = nil
    }

    private func uploadPart() throws(ObjectStoreError) {
        let upload: MultipartUpload
        if let begun = self.upload {
            upload = begun
        } else {
            upload = try MultipartUpload(store, key, writeID)
            self.upload = upload
        }
        var part: [UInt8] = []
        part.reserveCapacity(Self.partBytes)
        swap(&part, &buffer)
        try upload.add(part)
    }
}
