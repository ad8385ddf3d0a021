import KamlTestSupport
import ObjectStore
import S3
import Stores
import System
import Testing

@Suite("Opening by URL")
struct OpenerTests {
    private func opener(_ variables: [String: String] = [:]) -> StoreOpener {
        StoreOpener(environment: S3Environment(variables: variables.lookup), client: FakeS3())
    }

    private func url(_ text: String) throws -> ObjectStoreURL {
        try ObjectStoreURL(text, workingDirectory: "/")
    }

    @Test("gives a directory or a bucket, with what the environment says of the server")
    func opens() throws {
        #expect(try opener().open(try url("/data")).location == "file:///data")
        let store = try opener(["KAML_S3_ENDPOINT": "http://[::1]:9000"]).open(try url("s3://bucket/x/"))
        #expect(store.location == "s3://bucket/x?endpoint=http://[::1]:9000")
        #expect(throws: StoreOpeningError.self) { try opener().open(try url("s3://B")) }
        #expect(throws: StoreOpeningError.self) {
            try opener(["KAML_S3_ENDPOINT": "localhost"]).open(try url("s3://bucket"))
        }
    }

    @Test(
        "a snapshot may name the store's server, AWS, and what is listed",
        arguments: [
            ("s3://other/x?endpoint=https://store.example", "", true),
            ("s3://other/x", "", true), ("s3://other/x?region=eu-west-1", "", true),
            ("s3://other/x?endpoint=https://evil.example", "", false),
            ("s3://other/x?endpoint=http://store.example", "", false),
            ("s3://other/x?endpoint=https://store.example:444", "", false),
            ("s3://other/x?endpoint=https://evil.example", "s3://other?endpoint=https://evil.example", true),
            (
                "s3://other/x?endpoint=https://evil.example", "s3://other/x?endpoint=https://evil.example",
                true
            ),
            (
                "s3://other/xy?endpoint=https://evil.example", "s3://other/x?endpoint=https://evil.example",
                false
            ),
            ("s3://others?endpoint=https://evil.example", "s3://other?endpoint=https://evil.example", false),
            ("file:///data/in", "", false), ("file:///data/in", "file:///data", true),
            ("file:///data/in", "s3://bucket,file:///data/in/", true),
            ("file:///database", "file:///data", false),
            ("file:///data/../etc", "file:///data", false),
        ] as [(String, String, Bool)])
    func rule(source: String, listed: String, isAllowed: Bool) throws {
        let opener = opener(["KAML_SOURCES": listed, "KAML_S3_ENDPOINT": "https://store.example"])
        let sources = try opener.sources(for: try url("s3://bucket/store"))
        if isAllowed {
            // What a snapshot names without an endpoint is on AWS, whatever this process has set.
            #expect(try sources.source(source).location == source)
        } else {
            let error = #expect(throws: ObjectStoreError.self) { try sources.source(source) }
            #expect(error?.code == .permissionDenied)
            #expect(error?.description.contains("KAML_SOURCES='\(source)'") == true)
        }
    }

    @Test("a store in a directory lets its snapshots name directories, but no servers")
    func directories() throws {
        let sources = try opener(["KAML_S3_ENDPOINT": "https://store.example"]).sources(
            for: try url("/store"))
        #expect(try sources.source("file:///data").location == "file:///data")
        #expect(throws: ObjectStoreError.self) {
            try sources.source("s3://other?endpoint=https://store.example")
        }
        #expect(throws: ObjectStoreError.self) { try sources.source("gopher://x") }
    }
}
