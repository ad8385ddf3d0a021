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
        try list([], body)
    }

    package func find(_ key: ByteString) throws(ObjectStoreError) -> SourceObject? {
        var found: SourceObject?
        // The key itself comes before all that it begins.
        try list(key.bytes) { object throws(ObjectStoreError) in
            if object.key == key { found = object }
            return false
        }
        return found
    }

    private func list(
        _ prefix: [UInt8], _ body: (SourceObject) throws(ObjectStoreError) -> Bool
    ) throws(ObjectStoreError) {
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
            try bucket.listVersions(prefix, hand)
        } else {
            try bucket.list(prefix, after: [], hand)
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
        var isOther = false
        // Not every server heeds the condition. A version id alone names the bytes.
        let isRight = { (head: HTTPResponseHead) in
            isOther = version.id == nil && head["etag"] != "\"\(version.tag)\""
            return !isOther
        }
        let outcome = unsafe withoutActuallyEscaping(body) { body in
            Result { () throws(S3Failure) in
                let sink = BodySink(head: isRight) { piece in
                    do throws(ObjectStoreError) { return try unsafe body(piece) } catch {
                        thrown = error
                        return false
                    }
                }
                return try bucket.service.send(request, sink)
            }
        }
        if let thrown { throw thrown }
        if isOther { throw changed(key, Self.otherTag(version)) }
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
        return changed(key, isGone ? "it is gone" : Self.otherTag(version))
    }

    private static func otherTag(_ version: ObjectVersion) -> String {
        "its ETag is no longer \"\(ShownText.of(version.tag.utf8))\""
    }

    private func changed(_ key: ByteString, _ what: String) -> ObjectStoreError {
        ObjectStoreError(
            .changed, .read, key: key.description, location: location, detail: what,
            advice: "import again with `kaml import` to take what is there now, or put the old object back")
    }
}
