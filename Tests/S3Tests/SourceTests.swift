import HTTPExchange
import KamlTestSupport
import ObjectStore
import System
import Testing

@testable import S3

@Suite("A source in a bucket")
struct SourceTests {
    private func source(_ server: FakeS3) throws -> S3ObjectSource {
        S3ObjectSource(try server.place("/in"), server.service())
    }

    private func listed(_ source: any ObjectSource) throws -> [SourceObject] {
        var found: [SourceObject] = []
        try source.list { object throws(ObjectStoreError) in
            found.append(object)
            return true
        }
        return found
    }

    private func read(_ source: any ObjectSource, _ object: SourceObject, _ range: Range<UInt64>) throws
        -> [UInt8]
    {
        var bytes: [UInt8] = []
        try source.read(object.key, object.version, range) { piece throws(ObjectStoreError) in
            bytes.append(contentsOf: piece)
            return true
        }
        return bytes
    }

    @Test(
        "lists every key, whatever its bytes, page by page and without its prefix", arguments: [true, false])
    func keys(keepsVersions: Bool) throws {
        let server = FakeS3(keepsVersions: keepsVersions, pageSize: 2)
        let keys: [[UInt8]] = [
            Array("a b".utf8), Array("a+b".utf8), Array("a%2Fb".utf8), Array("a//b".utf8), Array("../x".utf8),
            Array("ü&<>\"'".utf8), [0x01, 0x0A, 0x7F], [0xFF, 0xFE], Array("dir/".utf8), [],
        ]
        for key in keys { server.place(Array("in/".utf8) + key, key) }
        server.place("inside", [1])
        server.place("i", [1])
        let source = try source(server)
        let found = try listed(source)
        #expect(found.map(\.key) == keys.map { ByteString($0) }.sorted())
        for object in found where object.size > 0 {
            #expect(try read(source, object, 0..<object.size) == object.key.bytes)
        }
        #expect(found.allSatisfy { $0.version.id != nil } == keepsVersions)
    }

    @Test("refuses to read an object that is another one now, or gone")
    func changed() throws {
        let server = FakeS3()
        server.place("in/a", Array("one".utf8))
        server.place("in/b", Array("two".utf8))
        let source = try source(server)
        let found = try listed(source)
        #expect(try read(source, found[0], 1..<3) == Array("ne".utf8))
        server.place("in/a", Array("other".utf8))
        server.place("in/b", [])
        for object in found {
            let error = #expect(throws: ObjectStoreError.self) { try read(source, object, 0..<3) }
            #expect(error?.code == .changed)
            #expect(error?.description.contains("kaml import") == true)
        }
        let missing = SourceObject(
            key: "no", size: 1, modified: found[0].modified, version: ObjectVersion(tag: "x"))
        let error = #expect(throws: ObjectStoreError.self) { try read(source, missing, 0..<1) }
        #expect(error?.code == .changed)
    }

    @Test("hands over no byte of another object, on a server that does not heed conditions")
    func ignoredCondition() throws {
        let server = FakeS3 { request, _ in
            request.method == .get && request.range != nil
                ? .answers(
                    206, body: "new",
                    fields: [HTTPField("etag", "\"other\""), HTTPField("content-range", "bytes 0-2/3")]) : nil
        }
        server.place("in/a", Array("one".utf8))
        let source = try source(server)
        let object = try listed(source)[0]
        var pieces = 0
        let error = #expect(throws: ObjectStoreError.self) {
            try source.read(object.key, object.version, 0..<3) { _ throws(ObjectStoreError) in
                pieces += 1
                return true
            }
        }
        #expect(error?.code == .changed)
        #expect(pieces == 0)
    }

    @Test("finds one object with one page, among many that begin alike", arguments: [true, false])
    func finding(keepsVersions: Bool) throws {
        let server = FakeS3(keepsVersions: keepsVersions, pageSize: 2)
        for name in ["a", "k", "k/1", "k1", "k2", "l"] { server.place("in/\(name)", Array(name.utf8)) }
        let source = try source(server)
        let all = try listed(source)
        let before = server.log.count
        #expect(try source.find("k") == all[1])
        #expect(server.log.count == before + 2, "the question for versions, and a page")
        #expect(try source.find("k0") == nil)
        #expect(try source.find("m") == nil)
    }

    @Test("reads the version that was listed where the bucket keeps it")
    func versions() throws {
        let server = FakeS3(keepsVersions: true)
        server.place("in/a", Array("one".utf8))
        let source = try source(server)
        let old = try listed(source)[0]
        server.place("in/a", Array("two".utf8))
        #expect(try read(source, old, 0..<3) == Array("one".utf8))
        #expect(try read(source, try listed(source)[0], 0..<3) == Array("two".utf8))
        #expect(try listed(source).count == 1)
    }

    @Test("does without versions where it may not ask for them")
    func deniedVersioning() throws {
        let server = FakeS3(keepsVersions: true) { request, _ in
            request.target.contains("versioning")
                ? .answers(403, body: "<Error><Code>AccessDenied</Code></Error>") : nil
        }
        server.place("in/a", [1])
        #expect(try listed(try source(server)).map(\.version.id) == [nil])
    }

    @Test("hands the reader's own error on, and stops when it has enough")
    func readersSay() throws {
        let server = FakeS3()
        server.place("in/a", Array(0..<100))
        let source = try source(server)
        let object = try listed(source)[0]
        let own = ObjectStoreError(.noSpace, .write, key: "mine", location: "here")
        let error = #expect(throws: ObjectStoreError.self) {
            try source.read(object.key, object.version, 0..<100) { _ throws(ObjectStoreError) in throw own }
        }
        #expect(error == own)
        var pieces = 0
        try source.read(object.key, object.version, 0..<100) { _ throws(ObjectStoreError) in
            pieces += 1
            return false
        }
        #expect(pieces == 1)
    }
}
