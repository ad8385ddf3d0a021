import HTTPExchange
package import ObjectStore
import Synchronization
package import System

/// Objects in somebody's bucket, below a prefix.
///
/// A read names the ETag that was listed, and the version id where the bucket keeps versions: so bytes of another
/// object never come, and with versions the old bytes still do.
package final class S3ObjectSource: ObjectSource {
    package let location: String
    private let bucket: S3Bucket

    /// Storage classes whose objects must be restored before they can be read.
    private static let archives: Set<String> = ["GLACIER", "DEEP_ARCHIVE"]

    /// Does no I/O.
    package init(_ place: S3Location, _ service: S3Service) {
        bucket = S3Bucket(place, service)
        location = place.description
    }

    package func list(_ body: (SourceObject) throws(ObjectStoreError) -> Bool) throws(ObjectStoreError) {
        let keepsVersions: Bool
        do throws(S3Failure) { keepsVersions = try bucket.keepsVersions() } catch {
            throw error.error(.list, "", bucket.place)
        }
        func hand(_ object: ListPage.Object) throws(ObjectStoreError) -> Bool {
            try body(
                SourceObject(
                    key: object.key, size: object.size, modified: object.modified, version: object.version,
                    isArchived: Self.archives.contains(object.storageClass)))
        }
        if keepsVersions {
            try bucket.listVersions(hand)
        } else {
            try bucket.list([], after: [], hand)
        }
    }

    package func read(
        _ key: ByteString, _ version: ObjectVersion, _ range: Range<UInt64>,
        _ body: (UnsafeRawBufferPointer) throws(ObjectStoreError) -> Bool
    ) throws(ObjectStoreError) {
        guard !range.isEmpty else { return }
        let query = version.id.map { "versionId=\(PercentCoding.encode($0.utf8))" } ?? ""
        let request = bucket.request(
            .get, key.bytes, query: query, fields: [HTTPField("if-match", "\"\(version.tag)\"")], range: range
        )
        var thrown: ObjectStoreError?
        let outcome = unsafe withoutActuallyEscaping(body) { body in
            Result { () throws(S3Failure) in
                let sink = BodySink { piece in
                    do throws(ObjectStoreError) { return try unsafe body(piece) } catch {
                        thrown = error
                        return false
                    }
                }
                return try bucket.service.send(request, sink)
            }
        }
        if let thrown { throw thrown }
        do throws(S3Failure) { _ = try outcome.get() } catch { throw failure(error, key, version, range) }
    }

    /// 412: another object stands there. 404: none. 416 and a shorter range: a shorter one, on a server that does not heed
    /// the condition.
    private func failure(
        _ failure: S3Failure, _ key: ByteString, _ version: ObjectVersion, _ range: Range<UInt64>
    ) -> ObjectStoreError {
        let isGone = failure.status == 404 && failure.code != "NoSuchBucket"
        guard isGone || failure.status == 412 || failure.status == 416 else {
            return failure.error(.read, key.description, bucket.place)
        }
        let what =
            isGone
            ? "it is gone" : "its ETag is no longer \"\(ShownText.of(version.tag.utf8))\""
        return ObjectStoreError(
            .changed, .read, key: key.description, location: location, detail: what,
            advice: "import again with `kaml import` to take what is there now, or put the old object back")
    }
}
