import Glibc
import HTTPExchange
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
        let error = #expect(throws: StoreOpeningError.self) {
            try opener(["KAML_S3_ENDPOINT": "localhost"]).open(try url("s3://bucket"))
        }
        #expect("\(String(describing: error))".contains("KAML_S3_ENDPOINT"))
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

    @Test("a store in a directory of one's own lets its snapshots name directories, but no servers")
    func directories() throws {
        let directory = try TemporaryDirectory()
        let sources = try opener(["KAML_S3_ENDPOINT": "https://store.example"]).sources(
            for: try url("\(directory.path)"))
        #expect(try sources.source("file:///data").location == "file:///data")
        #expect(throws: ObjectStoreError.self) {
            try sources.source("s3://other?endpoint=https://store.example")
        }
        #expect(throws: ObjectStoreError.self) { try sources.source("gopher://x") }
    }

    @Test("a store in a directory into which others can write names directories only where they are listed")
    func openDirectories() throws {
        let directory = try TemporaryDirectory()
        let place = try url("\(directory.path)")
        for mode in [0o775, 0o757, 0o1777] as [UInt32] {
            try #require(chmod("\(directory.path)", mode) == 0)
            let error = #expect(throws: ObjectStoreError.self) {
                try opener().sources(for: place).source("file:///data")
            }
            #expect(error?.code == .permissionDenied)
            #expect(error?.description.contains("KAML_SOURCES='file:///data'") == true)
            #expect(error?.description.contains("chmod go-w") == true)
            let listed = try opener(["KAML_SOURCES": "file:///data"]).sources(for: place)
            #expect(try listed.source("file:///data").location == "file:///data")
        }
        let missing = try opener().sources(for: try url("\(directory.path)/none"))
        #expect(throws: ObjectStoreError.self) { try missing.source("file:///data") }
    }

    @Test(
        "a proxy's address is checked, and its password never told",
        arguments: [
            ("http://u:canary@proxy.example:3128", true), ("proxy.example:3128", true),
            ("http://[::1]:3128/", true), ("socks5h://proxy", true),
            ("ftp://u:canary@proxy", false), ("http://u:canary@proxy:port", false),
            ("http://u:canary@proxy:99999", false), ("http://u:can/ary@proxy", false), ("http://", false),
            ("http://u:canary@pro xy", false), ("", false),
        ] as [(String, Bool)])
    func proxies(address: String, isGood: Bool) throws {
        let settings = StoreSettings(proxy: address)
        var dumped = "\(settings) \(String(reflecting: settings))"
        dump(settings, to: &dumped)
        #expect(!dumped.contains("canary"))
        let opener = StoreOpener(settings, environment: S3Environment(variables: [:].lookup))
        if isGood {
            _ = try opener.open(try url("s3://bucket"))
        } else {
            let error = #expect(throws: StoreOpeningError.self) { try opener.open(try url("s3://bucket")) }
            #expect(error == .proxy)
            #expect(error?.description.contains("canary") == false)
        }
    }

    @Test("counts what all its buckets do")
    func statistics() throws {
        let opener = StoreOpener(environment: FakeS3.environment, client: FakeS3())
        for name in ["http://a.example", "http://b.example"] {
            _ = try opener.open(try url("s3://bucket?endpoint=\(name)")).list("", after: nil) { _ in true }
        }
        #expect(opener.statistics.requests == 2)
    }
}
