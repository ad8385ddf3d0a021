import HTTPExchange
package import ObjectStore
import System

/// Requests on a bucket and the objects below its location's prefix, with failures in the words of object stores.
package struct S3Bucket: Sendable {
    package let place: S3Location
    let service: S3Service

    package init(_ place: S3Location, _ service: S3Service) {
        self.place = place
        self.service = service
    }

    /// A request on an object; `query` is encoded and sorted.
    func request(
        _ method: HTTPMethod, _ key: some Sequence<UInt8>, query: String = "", fields: [HTTPField] = [],
        range: Range<UInt64>? = nil, body: HTTPBody = .none, isRepeatable: Bool? = nil,
        priority: HTTPPriority = .bulk
    ) -> HTTPRequest {
        HTTPRequest(
            method, place.origin, place.path(of: key) + (query.isEmpty ? "" : "?" + query), fields: fields,
            range: range, body: body, isRepeatable: isRepeatable, priority: priority)
    }

    func bucketRequest(_ method: HTTPMethod, query: String, body: HTTPBody = .none) -> HTTPRequest {
        let path = place.bucketPath
        return HTTPRequest(
            method, place.origin, query.isEmpty ? path : "\(path)?\(query)", body: body, isRepeatable: true)
    }

    /// How often a document is asked for whose body breaks off: it has no tag to go on with.
    private static let documentTries = 4

    /// The answer's body, of bounded length. `request` may be sent several times.
    func document(
        _ request: HTTPRequest, limit: Int, deadlines: HTTPDeadlines = .standard
    ) throws(S3Failure) -> [UInt8] {
        var tries = 0
        while true {
            tries += 1
            var bytes: [UInt8] = []
            var hasBegun = false
            var isTooLong = false
            let begins = { (_: HTTPResponseHead) in
                hasBegun = true
                return true
            }
            let sink = BodySink(head: begins) { piece in
                guard piece.count <= limit - bytes.count else {
                    isTooLong = true
                    return false
                }
                unsafe bytes.append(contentsOf: piece)
                return true
            }
            do throws(S3Failure) {
                try service.send(request, sink, deadlines: deadlines)
            } catch {
                guard hasBegun, tries < Self.documentTries, error.isBrokenOff else { throw error }
                continue
            }
            guard !isTooLong else { throw .malformed("it has more than \(limit) bytes") }
            return bytes
        }
    }

    /// Size and fields of an object; nil when it does not exist.
    func head(_ key: some Sequence<UInt8>) throws(S3Failure) -> HTTPResponseHead? {
        do throws(S3Failure) {
            return try service.send(request(.head, key, priority: .urgent))
        } catch {
            if error.status == 404, error.code != "NoSuchBucket" { return nil }
            throw error
        }
    }

    /// Bytes of the object, as an answer's head tells them.
    static func size(_ head: HTTPResponseHead) throws(S3Failure) -> UInt64 {
        guard let size = head["content-length"].flatMap({ HTTPContentRange.decimal($0) }) else {
            throw .malformed("it does not tell the object's size")
        }
        return size
    }

    /// Makes the bucket. One that is this account's own already is no error.
    package func make() throws(ObjectStoreError) {
        var body = HTTPBody.none
        if place.endpoint == nil, place.region != S3Location.defaultRegion {
            body = .bytes(
                Array(
                    """
                    <CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">\
                    <LocationConstraint>\(place.region)</LocationConstraint></CreateBucketConfiguration>
                    """.utf8))
        }
        do throws(S3Failure) {
            try service.send(bucketRequest(.put, query: "", body: body))
        } catch {
            if error.code == "BucketAlreadyOwnedByYou" { return }
            throw error.error(.create, "", place)
        }
    }

    /// Whether the bucket keeps old versions. False also for a server that does not know, or does not say.
    func keepsVersions() throws(S3Failure) -> Bool {
        do throws(S3Failure) {
            let bytes = try document(bucketRequest(.get, query: "versioning"), limit: 64 << 10)
            let status = try parsed { () throws(XMLError) in
                // Servers do not agree on the root's name.
                try ElementAnswer.text("Status", in: bytes)
            }
            return status == "Enabled"
        } catch {
            // Not everybody who may read may ask this; a changed object is then told by its ETag.
            if let status = error.status, [400, 403, 404, 405, 501].contains(status),
                error.code != "NoSuchBucket"
            {
                return false
            }
            throw error
        }
    }

    func parsed<Value>(_ body: () throws(XMLError) -> Value) throws(S3Failure) -> Value {
        do throws(XMLError) { return try body() } catch { throw .malformed(error.description) }
    }
}
