import Chunking
import HTTPExchange
import KamlTestSupport
import Synchronization
import System

@testable import S3

/// A bucket server in memory, reached without a network. As strict as real ones where kaml leans on it.
final class FakeS3: HTTPClient {
    enum Conditions { case honoured, ignored, refused }

    /// What happens to one request instead of, or after, being done.
    enum Fault {
        case answers(Int, body: String = "", fields: [HTTPField] = [])
        case fails(HTTPError.Code)
        /// Done, but the caller is not told.
        case loses
        /// Only so many bytes of the body come, with the right length promised.
        case cuts(Int)
    }

    struct Object {
        var bytes: [UInt8]
        var tag: String
        var fields: [HTTPField]
        var version: String
    }

    private struct State {
        /// Newest last.
        var objects: [[UInt8]: [Object]] = [:]
        var uploads: [String: (key: [UInt8], fields: [HTTPField], parts: [Int: [UInt8]])] = [:]
        var log: [HTTPRequest] = []
        var counter = 0
    }

    private let state = Mutex(State())
    private let conditions: Conditions
    private let keepsVersions: Bool
    private let pageSize: Int
    private let fault: @Sendable (HTTPRequest, Int) -> Fault?

    /// `fault` is asked for each request, which is told its number from 1.
    init(
        _ conditions: Conditions = .honoured, keepsVersions: Bool = false, pageSize: Int = 1000,
        fault: @escaping @Sendable (HTTPRequest, Int) -> Fault? = { _, _ in nil }
    ) {
        self.conditions = conditions
        self.keepsVersions = keepsVersions
        self.pageSize = pageSize
        self.fault = fault
    }

    /// The requests so far.
    var log: [HTTPRequest] { state.withLock { $0.log } }
    var unfinishedUploads: Int { state.withLock { $0.uploads.count } }

    /// Puts an object there past all requests.
    func place(_ key: String, _ bytes: [UInt8]) { place(Array(key.utf8), bytes) }

    func place(_ key: [UInt8], _ bytes: [UInt8]) {
        state.withLock { insert(key, bytes, [], into: &$0) }
    }

    func exchange(
        _ request: HTTPRequest, _ receiver: any HTTPReceiver, deadlines: HTTPDeadlines,
        cancellation: HTTPCancellation?
    ) throws(HTTPError) -> HTTPResponseHead {
        try request.checkSendable()
        let number = state.withLock { state in
            state.log.append(request)
            return state.log.count
        }
        let fault = fault(request, number)
        var answer: (head: HTTPResponseHead, body: [UInt8])
        switch fault {
        case .answers(let status, let body, let fields):
            answer = (HTTPResponseHead(status: status, fields: fields), Array(body.utf8))
        case .fails(let code): throw HTTPError(code, request.origin, "injected")
        case .loses:
            _ = state.withLock { answerTo(request, &$0) }
            throw HTTPError(.connectionLost, request.origin, "injected")
        case .cuts, nil: answer = state.withLock { answerTo(request, &$0) }
        }
        if request.method == .head { answer.body = [] }
        try request.check(answer.head)
        try receiver.receive(answer.head)
        var cut = answer.body.count
        if case .cuts(let count) = fault { cut = min(cut, count) }
        // In two pieces, so that nobody takes a body for one.
        for piece in [answer.body[..<(cut / 2)], answer.body[(cut / 2)..<cut]] where !piece.isEmpty {
            let goesOn = Array(piece).withUnsafeBytes { piece in
                Result { () throws(HTTPError) in try receiver.receive(piece) }
            }
            guard try goesOn.get() else { return answer.head }
        }
        if cut < answer.body.count { throw HTTPError(.connectionLost, request.origin, "injected") }
        return answer.head
    }

    // MARK: - The server

    private typealias Answer = (head: HTTPResponseHead, body: [UInt8])

    private func answerTo(_ request: HTTPRequest, _ state: inout State) -> Answer {
        guard request["authorization"] != nil, request["x-amz-content-sha256"] != nil else {
            return refusal(403, "AccessDenied")
        }
        let parts = request.target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        var query: [String: [UInt8]] = [:]
        for pair in parts.count > 1 ? parts[1].split(separator: "&") : [] {
            let words = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            query[String(words[0])] =
                PercentCoding.decode(Array((words.count > 1 ? words[1] : "").utf8)) ?? []
        }
        guard parts[0].hasPrefix("/bucket") else { return refusal(404, "NoSuchBucket") }
        let path = PercentCoding.decode(Array(parts[0].utf8.dropFirst("/bucket".utf8.count))) ?? []
        if path.isEmpty { return bucketAnswer(request, query, &state) }
        let key = Array(path.dropFirst())
        switch request.method {
        case .get, .head: return read(request, key, query, state)
        case .put, .post: return write(request, key, query, &state)
        case .delete:
            if let id = query["uploadId"] {
                state.uploads[String(decoding: id, as: UTF8.self)] = nil
            } else {
                state.objects[key] = nil
            }
            return good(204)
        }
    }

    private func read(_ request: HTTPRequest, _ key: [UInt8], _ query: [String: [UInt8]], _ state: State)
        -> Answer
    {
        var object = state.objects[key]?.last
        if let version = query["versionId"] {
            object = state.objects[key]?.first { $0.version.utf8.elementsEqual(version) }
        }
        guard let object else { return refusal(404, "NoSuchKey") }
        if let condition = request["if-match"], condition != object.tag {
            return refusal(412, "PreconditionFailed")
        }
        var fields = object.fields + [HTTPField("etag", object.tag)]
        guard let range = request.range else {
            fields.append(HTTPField("content-length", "\(object.bytes.count)"))
            return (HTTPResponseHead(status: 200, fields: fields), object.bytes)
        }
        let size = UInt64(object.bytes.count)
        guard range.lowerBound < size else { return refusal(416, "InvalidRange") }
        let end = min(range.upperBound, size)
        fields.append(HTTPField("content-range", "bytes \(range.lowerBound)-\(end - 1)/\(size)"))
        return (
            HTTPResponseHead(status: 206, fields: fields),
            Array(object.bytes[Int(range.lowerBound)..<Int(end)])
        )
    }

    private func write(
        _ request: HTTPRequest, _ key: [UInt8], _ query: [String: [UInt8]], _ state: inout State
    ) -> Answer {
        let bytes = Self.bytes(request.body)
        guard request["x-amz-content-sha256"] == SHA256.hex(bytes) else {
            return refusal(400, "XAmzContentSHA256Mismatch")
        }
        let metadata = request.fields.filter { $0.name.hasPrefix("x-amz-meta-") }
        if query["uploads"] != nil {
            state.counter += 1
            let id = "upload-\(state.counter)"
            state.uploads[id] = (key, metadata, [:])
            return good(
                200,
                "<InitiateMultipartUploadResult><UploadId>\(id)</UploadId></InitiateMultipartUploadResult>")
        }
        let id = query["uploadId"].map { String(decoding: $0, as: UTF8.self) }
        if let id, state.uploads[id] == nil { return refusal(404, "NoSuchUpload") }
        if let id, let number = query["partNumber"].flatMap({ Int(String(decoding: $0, as: UTF8.self)) }) {
            state.uploads[id]?.parts[number] = bytes
            return good(200, "", [HTTPField("etag", "\"part-\(number)\"")])
        }
        if request["if-none-match"] != nil {
            if conditions == .refused { return refusal(501, "NotImplemented") }
            if conditions == .honoured, state.objects[key] != nil {
                return refusal(412, "PreconditionFailed")
            }
        }
        if let id, let upload = state.uploads.removeValue(forKey: id) {
            let whole = upload.parts.sorted { $0.key < $1.key }.flatMap(\.value)
            insert(key, whole, upload.fields, into: &state)
            return good(200, "<CompleteMultipartUploadResult><ETag></ETag></CompleteMultipartUploadResult>")
        }
        insert(key, bytes, metadata, into: &state)
        return good(200)
    }

    private func insert(_ key: [UInt8], _ bytes: [UInt8], _ fields: [HTTPField], into state: inout State) {
        state.counter += 1
        let object = Object(
            bytes: bytes, tag: "\"\(SHA256.hex(bytes).prefix(32))\"", fields: fields,
            version: "v\(state.counter)")
        state.objects[key, default: []].append(object)
        if !keepsVersions { state.objects[key] = [object] }
    }

    private func bucketAnswer(
        _ request: HTTPRequest, _ query: [String: [UInt8]], _ state: inout State
    ) -> Answer {
        if request.method == .put { return good(200) }
        if query["versioning"] != nil {
            let status = keepsVersions ? "<Status>Enabled</Status>" : ""
            return good(200, "<VersioningConfiguration>\(status)</VersioningConfiguration>")
        }
        let isVersions = query["versions"] != nil
        let after =
            isVersions
            ? query["key-marker"]
            // A token means something to the server alone.
            : query["continuation-token"].flatMap { Hex.decode(String(decoding: $0, as: UTF8.self)) }
                ?? query["start-after"]
        let keys = state.objects.keys.filter { key in
            key.starts(with: query["prefix"] ?? [])
                && (after.map { $0.lexicographicallyPrecedes(key) } ?? true)
        }.sorted { $0.lexicographicallyPrecedes($1) }
        let page = keys.prefix(pageSize)
        var text =
            "<?xml version=\"1.0\"?>\n<\(isVersions ? "ListVersionsResult" : "ListBucketResult") xmlns=\"x\">"
        text += "<EncodingType>url</EncodingType><IsTruncated>\(keys.count > page.count)</IsTruncated>"
        if keys.count > page.count, let last = page.last {
            text +=
                isVersions
                ? "<NextKeyMarker>\(PercentCoding.encode(last))</NextKeyMarker>"
                : "<NextContinuationToken>\(Hex.encode(last))</NextContinuationToken>"
        }
        for key in page {
            for (index, object) in (state.objects[key] ?? []).enumerated().reversed() {
                let isLatest = index == (state.objects[key]?.count ?? 0) - 1
                text += isVersions ? "<Version>" : "<Contents>"
                text += "<Key>\(PercentCoding.encode(key))</Key>"
                if isVersions {
                    text += "<VersionId>\(object.version)</VersionId><IsLatest>\(isLatest)</IsLatest>"
                }
                text += "<LastModified>2026-01-02T03:04:05.000Z</LastModified>"
                let tag = object.tag.split(separator: "\"").joined()
                text += "<ETag>&quot;\(tag)&quot;</ETag>"
                text += "<Size>\(object.bytes.count)</Size>"
                text += isVersions ? "</Version>" : "</Contents>"
            }
        }
        return good(200, text + (isVersions ? "</ListVersionsResult>" : "</ListBucketResult>"))
    }

    private func good(_ status: Int, _ body: String = "", _ fields: [HTTPField] = []) -> Answer {
        (HTTPResponseHead(status: status, fields: fields), Array(body.utf8))
    }

    private func refusal(_ status: Int, _ code: String) -> Answer {
        good(status, "<Error><Code>\(code)</Code><Message>said the server</Message></Error>")
    }

    static func bytes(_ body: HTTPBody) -> [UInt8] {
        switch body {
        case .none: []
        case .bytes(let bytes): bytes
        case .borrowed(let bytes): Array(bytes)
        }
    }
}

extension FakeS3 {
    static let environment = S3Environment(
        variables: ["AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "canary"].lookup)

    func service(_ environment: S3Environment = FakeS3.environment) -> S3Service {
        S3Service(self, region: "us-east-1", settings: S3Settings(), environment: environment)
    }

    func place(_ path: String = "/a b") throws -> S3Location {
        try S3Location("s3://bucket\(path)?endpoint=http://127.0.0.1:9", S3Settings())
    }

    func store(_ environment: S3Environment = FakeS3.environment) throws -> S3ObjectStore {
        S3ObjectStore(try place(), service(environment))
    }
}
