import HTTPExchange
import KamlTestSupport
import ObjectStore
import Synchronization
import System
import Testing

@testable import S3

@Suite("A store in a bucket")
struct StoreTests {
    @Test("keeps every store's promises", arguments: ObjectStoreConformance.checks)
    func conformance(check: ObjectStoreConformance.Check) throws {
        let server = FakeS3(pageSize: 3)
        // Pages of three would make the long listing long; it is about pages of a thousand.
        try check.run(try (check.description.contains("page") ? FakeS3() : server).store())
        #expect(server.unfinishedUploads == 0)
    }

    @Test(
        "keeps them for one writer where the server has no conditional writes",
        arguments: ObjectStoreConformance.checks.filter { !$0.needsManyWriters },
        [FakeS3.Conditions.ignored, .refused])
    func singleWriter(check: ObjectStoreConformance.Check, conditions: FakeS3.Conditions) throws {
        let store = try FakeS3(conditions).store()
        store.useSingleWriterMode()
        try check.run(store)
    }

    @Test(
        "finds out what the server does with conditional writes",
        arguments: zip(
            [FakeS3.Conditions.honoured, .ignored, .refused],
            [ConditionalPutFinding.honoured, .ignored, .refused]))
    func probe(conditions: FakeS3.Conditions, finding: ConditionalPutFinding) throws {
        let store = try FakeS3(conditions).store()
        #expect(try store.probeConditionalPut() == finding)
        #expect(try store.firstForeignKey() == nil, "and leaves nothing behind")
    }

    @Test("notices in single-writer mode that another writer replaced its object")
    func replaced() throws {
        let server = FakeS3(.ignored)
        let store = try server.store()
        store.useSingleWriterMode()
        let other = Atomic(false)
        let watched = FakeS3(.ignored) { request, _ in
            // Between the write and the look at it.
            if request.method == .head, other.load(ordering: .relaxed) {
                return .answers(200, fields: [HTTPField(S3ObjectStore.writeIDField, "another")])
            }
            if request.method == .put { other.store(true, ordering: .relaxed) }
            return nil
        }
        let loser = try watched.store()
        loser.useSingleWriterMode()
        #expect(try loser.createIfAbsent(key("log/1"), [1]) == .exists)
        #expect(try store.createIfAbsent(key("log/1"), [1]) == .created)
    }

    @Test("settles a create whose answer was lost by its write id")
    func lostAnswer() throws {
        let server = FakeS3 { request, number in request.method == .put && number == 1 ? .loses : nil }
        let store = try server.store()
        #expect(try store.createIfAbsent(key("log/1"), [1]) == .created)
        #expect(try store.readAll(key("log/1"), limit: 9) == [1])
    }

    @Test("tells another's object from its own after a lost answer, also with the same bytes")
    func lostRace() throws {
        let server = FakeS3 { request, _ in request.method == .put ? .fails(.connectionLost) : nil }
        server.place("a b/log/1", [1])
        #expect(try server.store().createIfAbsent(key("log/1"), [1]) == .exists)
    }

    @Test("leaves the outcome open when nobody can tell it")
    func openOutcome() throws {
        let store = try FakeS3 { _, _ in .fails(.connectionLost) }.store()
        expect(.unavailable) { _ = try store.createIfAbsent(key("x"), [1]) }
    }

    @Test("tries again when another writer is in the middle")
    func conflict() throws {
        let server = FakeS3 { _, number in
            number <= 2
                ? .answers(409, body: "<Error><Code>ConditionalRequestConflict</Code></Error>") : nil
        }
        #expect(try server.store().createIfAbsent(key("x"), [1]) == .created)
        #expect(server.log.count == 3)
    }

    @Test("takes an error in a good answer for what it is, when an upload is completed")
    func errorWith200() throws {
        let server = FakeS3 { request, _ in
            request.target.contains("?uploadId=") && request.method == .post
                ? .answers(200, body: "\n <Error><Code>InternalError</Code></Error>") : nil
        }
        let writer = try server.store().makeWriter(key("big"))
        try writer.append([UInt8](repeating: 1, count: S3ObjectWriter.partBytes + 1))
        expect(.unavailable) { _ = try writer.publish() }
        #expect(server.unfinishedUploads == 0, "the parts are removed")
    }

    @Test(
        "completes an upload again after an error in a good answer that passes, or another writer's",
        arguments: ["InternalError", "SlowDown", "ConditionalRequestConflict"])
    func passingErrorWith200(code: String) throws {
        let tries = Atomic(0)
        let server = FakeS3 { request, _ in
            guard request.target.contains("?uploadId="), request.method == .post,
                tries.wrappingAdd(1, ordering: .relaxed).newValue < 3
            else { return nil }
            return .answers(200, body: "<Error><Code>\(code)</Code></Error>")
        }
        let store = try server.store()
        let writer = try store.makeWriter(key("big"))
        try writer.append([UInt8](repeating: 1, count: S3ObjectWriter.partBytes + 1))
        #expect(try writer.publish() == .created)
        #expect(try store.size(of: key("big")) == UInt64(S3ObjectWriter.partBytes + 1))
    }

    @Test("takes an error in a good answer that does not pass at its word")
    func lastingErrorWith200() throws {
        let server = FakeS3 { request, _ in
            request.target.contains("?uploadId=") && request.method == .post
                ? .answers(200, body: "<Error><Code>AccessDenied</Code></Error>") : nil
        }
        let writer = try server.store().makeWriter(key("big"))
        try writer.append([UInt8](repeating: 1, count: S3ObjectWriter.partBytes + 1))
        expect(.permissionDenied) { _ = try writer.publish() }
        #expect(server.log.count { $0.method == .post && $0.target.contains("?uploadId=") } == 1)
    }

    @Test("asks a few times for a listing that breaks off")
    func brokenListing() throws {
        let once = FakeS3 { _, number in number == 1 ? .cuts(40) : nil }
        once.place("a b/log/1", [1])
        #expect(try once.store().list("").map(\.key.text) == ["log/1"])
        let always = FakeS3 { _, _ in .cuts(40) }
        always.place("a b/log/1", [1])
        expect(.unavailable) { _ = try always.store().list("") }
        #expect(always.log.count == 4)
    }

    @Test("knows an upload as its own when the answer to its end was lost")
    func lostCompletion() throws {
        let lost = Atomic(false)
        let server = FakeS3 { request, _ in
            guard request.target.contains("?uploadId="), request.method == .post,
                !lost.exchange(true, ordering: .relaxed)
            else { return nil }
            return .loses
        }
        let store = try server.store()
        let writer = try store.makeWriter(key("big"))
        try writer.append([UInt8](repeating: 1, count: S3ObjectWriter.partBytes + 1))
        #expect(try writer.publish() == .created)
        #expect(try store.size(of: key("big")) == UInt64(S3ObjectWriter.partBytes + 1))
    }

    @Test("tells a failed part, and removes the others")
    func failedPart() throws {
        let server = FakeS3 { request, _ in
            request.target.contains("partNumber=2&")
                ? .answers(403, body: "<Error><Code>AccessDenied</Code></Error>") : nil
        }
        let writer = try server.store().makeWriter(key("big"))
        expect(.permissionDenied) {
            try writer.append([UInt8](repeating: 1, count: 3 * S3ObjectWriter.partBytes))
            _ = try writer.publish()
        }
        writer.abandon()
        #expect(server.unfinishedUploads == 0)
    }

    @Test("removes the parts of a writer that is dropped")
    func droppedUpload() throws {
        let server = FakeS3()
        do {
            let writer = try server.store().makeWriter(key("big"))
            try writer.append([UInt8](repeating: 1, count: 2 * S3ObjectWriter.partBytes + 1))
        }
        #expect(server.unfinishedUploads == 0)
    }

    @Test(
        "says what is wrong and what to do",
        arguments: [
            (403, "AccessDenied", .permissionDenied, "AccessDenied"),
            (403, "SignatureDoesNotMatch", .permissionDenied, "secret key"),
            (403, "InvalidAccessKeyId", .permissionDenied, "the environment"),
            (400, "ExpiredToken", .permissionDenied, "expired"),
            (403, "RequestTimeTooSkewed", .permissionDenied, "clock"),
            (404, "NoSuchBucket", .notFound, "no bucket bucket at http://127.0.0.1:9"),
            (404, "NoSuchKey", .notFound, "kaml check"),
            (503, "SlowDown", .unavailable, "503"), (500, "InternalError", .unavailable, "500"),
            (429, "", .unavailable, "429"), (501, "NotImplemented", .notSupported, "501"),
            (400, "BadDigest", .unavailable, "damaged on the way"), (507, "", .noSpace, "full"),
            (403, "QuotaExceeded", .noSpace, "full"),
            (301, "PermanentRedirect", .notSupported, "not followed"),
            (307, "TemporaryRedirect", .notSupported, "not followed"), (418, "", .notSupported, "418"),
        ] as [(Int, String, ObjectStoreError.Code, String)])
    func errors(status: Int, code: String, expected: ObjectStoreError.Code, words: String) throws {
        let body = code.isEmpty ? "<html>" : "<Error><Code>\(code)</Code><Message>m; n</Message></Error>"
        let store = try FakeS3 { _, _ in .answers(status, body: body) }.store()
        do throws(ObjectStoreError) {
            _ = try store.readAll(key("x"), limit: 10)
            Issue.record("nothing was thrown")
        } catch {
            #expect(error.code == expected)
            #expect(error.description.contains(words), "\(error)")
            #expect(error.description.components(of: "; ") == 2, "\(error)")
            #expect(!error.description.contains("canary") && !error.description.contains("AKIAEXAMPLE"))
        }
    }

    @Test("names the region that a redirect tells, and never follows it")
    func redirect() throws {
        let server = FakeS3 { _, _ in
            .answers(
                301,
                fields: [
                    HTTPField("location", "http://169.254.169.254/latest"),
                    HTTPField("x-amz-bucket-region", "eu-west-1"),
                ])
        }
        let store = try server.store()
        let error = #expect(throws: ObjectStoreError.self) { try store.size(of: key("x")) }
        #expect(error?.description.contains("--region eu-west-1") == true)
        #expect(server.log.allSatisfy { $0.origin.host == "127.0.0.1" })
    }

    @Test("asks for other credentials when the server does not take these, once")
    func renewal() throws {
        let key1 = Atomic(0)
        let environment = S3Environment(variables: { name in
            switch name {
            case "AWS_ACCESS_KEY_ID": "KEY\(key1.load(ordering: .relaxed))"
            case "AWS_SECRET_ACCESS_KEY": "secret"
            default: nil
            }
        })
        let server = FakeS3 { request, _ in
            guard request["authorization"]?.contains("KEY0") == true else { return nil }
            key1.store(1, ordering: .relaxed)
            return .answers(400, body: "<Error><Code>ExpiredToken</Code></Error>")
        }
        #expect(try server.store(environment).createIfAbsent(key("x"), [1]) == .created)
        #expect(server.log.count == 2)
    }

    @Test("does not ask twice when there are no others")
    func noRenewal() throws {
        let server = FakeS3 { _, _ in .answers(403, body: "<Error><Code>InvalidAccessKeyId</Code></Error>") }
        expect(.permissionDenied) { _ = try server.store().size(of: key("x")) }
        #expect(server.log.count == 1)
    }

    @Test("takes the server's time when it minds ours")
    func skew() throws {
        let server = FakeS3 { request, _ in
            guard request["x-amz-date"] != "20300101T000000Z" else { return nil }
            return .answers(
                403, body: "<Error><Code>RequestTimeTooSkewed</Code></Error>",
                fields: [HTTPField("date", "Tue, 01 Jan 2030 00:00:00 GMT")])
        }
        var environment = FakeS3.environment
        environment.clock = FixedClock(seconds: 1_700_000_000)
        #expect(try server.store(environment).createIfAbsent(key("x"), [1]) == .created)
        #expect(server.log.count == 2)
    }

    @Test("fails a read that is cut, or answered with all of the object")
    func badReads() throws {
        let cut = FakeS3 { request, _ in request.method == .get ? .cuts(3) : nil }
        cut.place("a b/x", Array(0..<10))
        expect(.unavailable) {
            _ = try cut.store().read(key("x"), from: 0, count: 8)
        }
        let whole = FakeS3 { request, _ in request.method == .get ? .answers(200, body: "0123456789") : nil }
        whole.place("a b/x", Array(0..<10))
        expect(.unavailable) {
            _ = try whole.store().read(key("x"), from: 0, count: 8)
        }
    }

    @Test(
        "ends a listing that goes round",
        arguments: [
            "<NextContinuationToken>t</NextContinuationToken>", "",
            "<NextContinuationToken>t</NextContinuationToken><Contents><Key>a b/k</Key><Size>1</Size></Contents>",
        ])
    func endlessListing(page: String) throws {
        let server = FakeS3 { _, _ in
            .answers(200, body: "<ListBucketResult><IsTruncated>true</IsTruncated>\(page)</ListBucketResult>")
        }
        expect(.unavailable) { _ = try server.store().list("") }
        #expect(server.log.count <= 2)
    }

    @Test("leaves out what is no object of a store")
    func foreignKeys() throws {
        let server = FakeS3()
        for name in ["log/1", "log/Upper", "log/", "log//2", "log/ü", "log/.tmp"] {
            server.place("a b/\(name)", [1])
        }
        #expect(try server.store().list("log/").map(\.key.text) == ["log/1"])
    }
}

func key(_ text: String) -> ObjectKey {
    guard let key = ObjectKey(text) else { preconditionFailure("\(text) is no key") }
    return key
}

func expect(
    _ code: ObjectStoreError.Code, sourceLocation: SourceLocation = #_sourceLocation,
    _ body: () throws -> Void
) {
    let error = #expect(throws: ObjectStoreError.self, sourceLocation: sourceLocation, performing: body)
    #expect(error?.code == code, "\(String(describing: error))", sourceLocation: sourceLocation)
}

extension String {
    /// How many parts a separator cuts this text into.
    func components(of separator: String) -> Int {
        var count = 1
        var start = startIndex
        while start < endIndex {
            if self[start...].hasPrefix(separator) { count += 1 }
            start = index(after: start)
        }
        return count
    }
}
