import HTTPExchange
import ObjectStore
import S3
import System
import Testing

@Suite("A bucket's URL")
struct LocationTests {
    @Test(
        "names where requests go",
        arguments: [
            ("s3://bucket", "https://bucket.s3.us-east-1.amazonaws.com", ""),
            ("s3://bucket/a/b/?region=eu-central-1", "https://bucket.s3.eu-central-1.amazonaws.com", "a/b/"),
            ("s3://my.bucket/a", "https://s3.us-east-1.amazonaws.com", "a/"),
            ("s3://bucket?endpoint=http://127.0.0.1:9000", "http://127.0.0.1:9000", ""),
            (
                "s3://bucket/x?endpoint=https://store.example&style=virtual", "https://bucket.store.example",
                "x/"
            ),
            (
                "s3://bucket/a%20b%25?region=cn-north-1", "https://bucket.s3.cn-north-1.amazonaws.com.cn",
                "a b%/"
            ),
        ] as [(String, String, String)])
    func parses(text: String, origin: String, prefix: String) throws {
        let location = try S3Location(text, S3Settings())
        #expect(location.origin.description == origin)
        #expect(location.prefix.description == prefix)
        #expect(try S3Location(location.description, S3Settings()) == location)
    }

    @Test(
        "is refused with a reason",
        arguments: [
            "s3://", "s3://ab", "s3://Bucket", "s3://buc_ket/x", "s3://-bucket", "s3://a..b",
            "s3://bucket/%2",
            "s3://bucket?endpoint=ftp://x", "s3://bucket?endpoint=https://x/path", "s3://bucket?region=EU",
            "s3://bucket?style=odd", "s3://bucket?key=AKIA", "s3://bucket?region=a&region=b", "/directory",
        ])
    func invalid(text: String) {
        #expect(throws: ObjectStoreURLError.self) { try S3Location(text, S3Settings()) }
    }

    @Test(
        "with credentials is refused without repeating them",
        arguments: [
            "s3://AKIAEXAMPLE:canary@bucket/x", "s3://bucket?endpoint=https://AKIAEXAMPLE:canary@host",
        ])
    func secrets(text: String) {
        let error = #expect(throws: ObjectStoreURLError.self) { try S3Location(text, S3Settings()) }
        #expect(error?.description.contains("canary") == false)
        #expect(error?.description.contains("AKIAEXAMPLE") == false)
    }

    @Test("counts before the settings")
    func precedence() throws {
        let settings = S3Settings(endpoint: "https://store.example", region: "eu-west-1", style: .virtual)
        let plain = try S3Location("s3://bucket", settings)
        #expect(plain.origin.description == "https://bucket.store.example")
        #expect(plain.region == "eu-west-1")
        let own = try S3Location("s3://bucket?endpoint=http://other.example&region=x-1&style=path", settings)
        #expect(own.origin.description == "http://other.example")
        #expect(own.region == "x-1")
    }

    @Test("takes what nobody said from the environment, KAML's variable first")
    func environment() {
        let environment = S3Environment(
            variables: [
                "KAML_S3_ENDPOINT": "https://one", "AWS_ENDPOINT_URL": "https://two",
                "AWS_DEFAULT_REGION": "r-1",
                "AWS_REGION": "",
            ].lookup)
        let settings = S3Settings().completed(from: environment)
        #expect(settings.endpoint == "https://one")
        #expect(settings.region == "r-1")
        #expect(
            S3Settings(endpoint: "https://typed").completed(from: environment).endpoint == "https://typed")
    }
}

extension [String: String] {
    var lookup: @Sendable (String) -> String? { { self[$0] } }
}
