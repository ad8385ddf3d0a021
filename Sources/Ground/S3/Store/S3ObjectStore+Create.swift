import Chunking
import Glibc
import HTTPExchange
package import ObjectStore
import System

extension S3ObjectStore {
    package func createIfAbsent(
        _ key: ObjectKey, _ bytes: UnsafeRawBufferPointer
    ) throws(ObjectStoreError) -> CreateOutcome {
        do throws(S3Failure) { return try unsafe put(key, bytes, newWriteID()) } catch {
            throw failure(error, .create, key)
        }
    }

    /// The metadata by which a writer knows an object as its own.
    static let writeIDField = "x-amz-meta-kaml-write"
    /// Tries where another writer was in the middle of the same key.
    private static let conflicts = 6

    func newWriteID() -> String { Hex.encode(random.bytes(16)) }

    /// The fields of a request that begins an object.
    func creationFields(_ writeID: String) -> [HTTPField] {
        [HTTPField(Self.writeIDField, writeID), HTTPField("content-type", "application/octet-stream")]
    }

    /// Stores an object with one request, unless the key is taken.
    func put(
        _ key: ObjectKey, _ bytes: UnsafeRawBufferPointer, _ writeID: String
    ) throws(S3Failure) -> CreateOutcome {
        var fields = creationFields(writeID)
        if isSingleWriter {
            if try bucket.head(key.text.utf8) != nil { return .exists }
        } else {
            fields.append(HTTPField("if-none-match", "*"))
        }
        // The server compares, so that bytes that were damaged on the way are refused; hashed once for all attempts.
        fields.append(HTTPField("x-amz-content-sha256", unsafe SHA256.hex(bytes)))
        let request = unsafe bucket.request(
            .put, key.text.utf8, fields: fields, body: .borrowed(bytes), isRepeatable: true)
        let outcome = try settled(key, writeID) { () throws(S3Failure) in try bucket.service.send(request) }
        // Whoever was replaced by another writer meanwhile should at least not believe the contrary.
        if isSingleWriter, outcome == .created, let owner = try owner(of: key), owner != writeID {
            return .exists
        }
        return outcome
    }

    /// Does a request that makes an object appear, and finds out whether it did.
    func settled(
        _ key: ObjectKey, _ writeID: String, _ create: () throws(S3Failure) -> Void
    ) throws(S3Failure) -> CreateOutcome {
        var conflicts = 0
        while true {
            do throws(S3Failure) {
                try create()
                return .created
            } catch {
                switch error.status {
                case 412:
                    // Also what a repeated request gets whose first answer was lost.
                    return try owner(of: key) == writeID ? .created : .exists
                case 409 where conflicts < Self.conflicts && error.code != "BucketAlreadyExists":
                    conflicts += 1
                    pause(conflicts)
                default:
                    guard error.leavesOutcomeOpen, !error.isAway, let owner = try? owner(of: key) else {
                        throw error
                    }
                    return owner == writeID ? .created : .exists
                }
            }
        }
    }

    /// The write id of what stands at a key; empty when it has none, nil when nothing is there.
    func owner(of key: ObjectKey) throws(S3Failure) -> String? {
        try bucket.head(key.text.utf8).map { $0[Self.writeIDField] ?? "" }
    }

    /// Up to 20 ms the first time, twice that the next.
    func pause(_ attempt: Int) {
        let limit = UInt32(20_000) << UInt32(min(attempt, 6))
        usleep(UInt32.random(in: 1000...limit))
    }
}
