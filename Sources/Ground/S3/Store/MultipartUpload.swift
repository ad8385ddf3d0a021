import HTTPExchange
import ObjectStore
import Synchronization
import System

/// Bounds the parts that are in memory on their way to the server.
final class UploadSlots: Sendable {
    private let free: Monitor<Int>

    init(limit: Int) { free = Monitor(limit) }

    func take() {
        free.wait { free -> Void? in
            guard free > 0 else { return nil }
            free -= 1
        }
    }

    func giveBack() {
        free.withLock { $0 += 1 }
        free.wake()
    }
}

/// An object in parts. Each part is sent by a thread of its own; the store's slots bound them all.
final class MultipartUpload: Sendable {
    private static let maximumParts = 10_000

    private let store: S3ObjectStore
    private let key: ObjectKey
    private let writeID: String
    private let uploadID: String
    private let state = Monitor(State())

    private struct State {
        var count = 0
        var running = 0
        /// By part number, from 1.
        var tags: [Int: String] = [:]
        /// One for each part on its way: each ends one exchange.
        var cancellations: [Int: HTTPCancellation] = [:]
        var isAborted = false
        var failure: S3Failure?
    }

    init(_ store: S3ObjectStore, _ key: ObjectKey, _ writeID: String) throws(ObjectStoreError) {
        self.store = store
        self.key = key
        self.writeID = writeID
        let bucket = store.bucket
        do throws(S3Failure) {
            let request = bucket.request(
                .post, key.text.utf8, query: "uploads", fields: store.creationFields(writeID),
                isRepeatable: true)
            let answer = try bucket.document(request, limit: 64 << 10)
            let id = try bucket.parsed { () throws(XMLError) in
                try ElementAnswer.text(["InitiateMultipartUploadResult", "UploadId"], in: answer)
            }
            guard let id, !id.isEmpty, id.utf8.count <= 2048 else {
                throw S3Failure.malformed("it gives the upload no id")
            }
            uploadID = id
        } catch {
            throw store.failure(error, .write, key)
        }
    }

    /// Sends one more part. Waits while too many are on their way; tells a failure of an earlier one.
    func add(_ bytes: [UInt8]) throws(ObjectStoreError) {
        store.uploadSlots.take()
        let number = state.withLock { state -> Int? in
            guard state.failure == nil, state.count < Self.maximumParts else { return nil }
            state.count += 1
            state.running += 1
            return state.count
        }
        guard let number else {
            store.uploadSlots.giveBack()
            try throwFailure()
            throw ObjectStoreError(
                .tooLarge, .write, key: key.text, location: store.location,
                detail: "S3 takes \(Self.maximumParts) parts")
        }
        do throws(Errno) {
            try Thread(name: "kaml-upload") { self.send(number, bytes) }.detach()
        } catch {
            // Without a thread to spare it is done here.
            send(number, bytes)
        }
    }

    private func send(_ number: Int, _ bytes: [UInt8]) {
        let cancellation = HTTPCancellation()
        let isAborted = state.withLock { state in
            state.cancellations[number] = cancellation
            return state.isAborted
        }
        if isAborted { cancellation.cancel() }
        let outcome = Result { () throws(S3Failure) in try put(number, bytes, cancellation) }
        state.withLock { state in
            state.running -= 1
            state.cancellations[number] = nil
            switch outcome {
            case .success(let tag): state.tags[number] = tag
            case .failure(let error): state.failure = state.failure ?? error
            }
        }
        store.uploadSlots.giveBack()
        state.wake()
    }

    private func put(
        _ number: Int, _ bytes: [UInt8], _ cancellation: HTTPCancellation
    ) throws(S3Failure) -> String {
        let query = "partNumber=\(number)&uploadId=\(PercentCoding.encode(uploadID.utf8))"
        let request = store.bucket.request(
            .put, key.text.utf8, query: query, fields: [HTTPField("x-amz-content-sha256", SHA256.hex(bytes))],
            body: .bytes(bytes), isRepeatable: true)
        let head = try store.bucket.service.send(request, cancellation: cancellation)
        guard let tag = head["etag"], !tag.isEmpty, tag.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw .malformed("it gives part \(number) no ETag")
        }
        return tag
    }

    /// Waits for the parts and makes the object appear.
    func complete() throws(ObjectStoreError) -> CreateOutcome {
        waitForParts()
        try throwFailure()
        let tags = state.withLock { $0.tags }
        do throws(S3Failure) {
            // Not every server heeds the condition here, and none wants to find out at the end of a large upload.
            if let owner = try store.owner(of: key) { return owner == writeID ? .created : .exists }
            return try store.settled(key, writeID) { () throws(S3Failure) in
                try complete(tags, isConditional: !store.isSingleWriter)
            }
        } catch {
            throw store.failure(error, .publish, key)
        }
    }

    private func complete(_ tags: [Int: String], isConditional: Bool) throws(S3Failure) {
        var body = "<CompleteMultipartUpload>"
        for (number, tag) in tags.sorted(by: { $0.key < $1.key }) {
            body += "<Part><PartNumber>\(number)</PartNumber><ETag>\(Self.escaped(tag))</ETag></Part>"
        }
        body += "</CompleteMultipartUpload>"
        let bucket = store.bucket
        let request = bucket.request(
            .post, key.text.utf8, query: "uploadId=\(PercentCoding.encode(uploadID.utf8))",
            fields: [HTTPField("content-type", "application/xml")]
                + (isConditional ? [HTTPField("if-none-match", "*")] : []), body: .bytes(Array(body.utf8)),
            isRepeatable: true)
        let answer: [UInt8]
        do throws(S3Failure) { answer = try completed(request) } catch {
            // The upload is gone when a first answer was lost: then the object is there.
            if error.status == 404, error.code == "NoSuchUpload", try store.owner(of: key) == writeID {
                return
            }
            // A server without the condition; that nothing is there was just seen.
            if isConditional, error.status == 501 { return try complete(tags, isConditional: false) }
            throw error
        }
        // The ETag in it may be empty (RGW).
        _ = try bucket.parsed { () throws(XMLError) in
            try ElementAnswer.text(["CompleteMultipartUploadResult", "ETag"], in: answer)
        }
    }

    /// Putting the parts together takes servers long, and only some say something meanwhile.
    private static let completionDeadlines = HTTPDeadlines(
        connect: 5_000_000_000, firstByte: 600_000_000_000, stall: 60_000_000_000, total: 900_000_000_000)
    /// How often a completion that failed on the server's side is tried.
    private static let completionTries = 5

    private func completed(_ request: HTTPRequest) throws(S3Failure) -> [UInt8] {
        var tries = 0
        while true {
            let answer = try store.bucket.document(
                request, limit: 64 << 10, deadlines: Self.completionDeadlines)
            // The status comes before the work is done, so a failure comes with 200.
            guard let late = ErrorAnswer(answer) else { return answer }
            let refusal = S3Refusal(late: late)
            tries += 1
            guard refusal.passesByItself, tries < Self.completionTries else { throw .refused(refusal) }
            store.pause(tries)
        }
    }

    /// Removes the parts. What cannot be removed now is left for the bucket's own rule for unfinished uploads.
    func abort() {
        let cancellations = state.withLock { state in
            state.isAborted = true
            return Array(state.cancellations.values)
        }
        for cancellation in cancellations { cancellation.cancel() }
        waitForParts()
        let request = store.bucket.request(
            .delete, key.text.utf8, query: "uploadId=\(PercentCoding.encode(uploadID.utf8))")
        _ = try? store.bucket.service.send(request)
    }

    private func waitForParts() { state.wait { $0.running == 0 ? () : nil } }

    private func throwFailure() throws(ObjectStoreError) {
        if let failure = state.withLock({ $0.failure }) { throw store.failure(failure, .write, key) }
    }

    private static func escaped(_ text: String) -> String {
        var escaped = ""
        for character in text {
            switch character {
            case "&": escaped += "&amp;"
            case "<": escaped += "&lt;"
            case ">": escaped += "&gt;"
            default: escaped.append(character)
            }
        }
        return escaped
    }
}
