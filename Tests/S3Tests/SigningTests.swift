import FoundationEssentials
import HTTPExchange
import KamlTestSupport
import System
import Testing

@testable import S3

@Suite("Signatures")
struct SigningTests {
    /// "Signature Calculations for the Authorization Header", Amazon S3 API Reference.
    @Test(
        "are those of the S3 documentation's examples",
        arguments: [
            (
                HTTPRequest(.get, host, "/test.txt", range: 0..<10),
                "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
            ),
            (
                HTTPRequest(
                    .put, host, "/test%24file.text",
                    fields: [
                        HTTPField("date", "Fri, 24 May 2013 00:00:00 GMT"),
                        HTTPField("x-amz-storage-class", "REDUCED_REDUNDANCY"),
                    ], body: .bytes(Array("Welcome to Amazon S3.".utf8))),
                "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
            ),
            (
                HTTPRequest(.get, host, "/?lifecycle"),
                "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
            ),
            (
                HTTPRequest(.get, host, "/?prefix=J&max-keys=2"),
                "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
            ),
        ])
    func documentation(request: HTTPRequest, signature: String) throws {
        let credentials = S3Credentials(
            accessKey: "AKIAIOSFODNN7EXAMPLE", secretKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            origin: "")
        let signer = RequestSigner(
            region: "us-east-1", credentials: nil, clock: FixedClock(seconds: 1_369_353_600))
        let signed = signer.sign(request, credentials)
        #expect(signed["authorization"]?.hasSuffix("Signature=\(signature)") == true)
    }

    private static let host = HTTPOrigin(isSecure: true, host: "examplebucket.s3.amazonaws.com")

    private struct Vectors: Decodable {
        var accessKey: String
        var secretKey: String
        var time: Int64
        var cases: [Case]

        struct Case: Decodable {
            var name: String
            var method: String
            var host: String
            var target: String
            var headers: [[String]]
            var body: String
            var token: String?
            var region: String
            var range: [UInt64]?
            var authorization: String
            var payload: String
        }
    }

    /// Made with botocore 1.43, which signs with code of its own.
    @Test("are those of another implementation")
    func botocore() throws {
        let directory = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast()
        let path = directory.joined(separator: "/") + "/Vectors/botocore.json"
        let vectors = try JSONDecoder().decode(Vectors.self, from: try Data(contentsOf: URL(filePath: path)))
        for vector in vectors.cases {
            let address = try #require(HTTPAddress("https://\(vector.host)"))
            let request = HTTPRequest(
                try #require(HTTPMethod(rawValue: vector.method)), address.origin, vector.target,
                fields: vector.headers.map { HTTPField($0[0], $0[1]) },
                range: vector.range.map { $0[0]..<$0[1] },
                body: vector.body.isEmpty ? .none : .bytes(Array(vector.body.utf8)))
            let credentials = S3Credentials(
                accessKey: vectors.accessKey, secretKey: vectors.secretKey, sessionToken: vector.token,
                origin: "")
            let signer = RequestSigner(
                region: vector.region, credentials: nil, clock: FixedClock(seconds: vectors.time))
            let signed = signer.sign(request, credentials)
            #expect(signed["authorization"] == vector.authorization, "\(vector.name)")
            #expect(signed["x-amz-content-sha256"] == vector.payload, "\(vector.name)")
            #expect(signed["x-amz-security-token"] == vector.token, "\(vector.name)")
            #expect(signer.sign(signed, credentials)["authorization"] == vector.authorization, "signed twice")
        }
        #expect(vectors.cases.count > 20)
    }

    @Test("follow the server's clock when it minds ours")
    func skew() {
        let signer = RequestSigner(
            region: "us-east-1", credentials: nil, clock: FixedClock(seconds: 1_369_353_600))
        let credentials = S3Credentials(accessKey: "a", secretKey: "b", origin: "")
        #expect(signer.correctClock("Fri, 24 May 2013 00:20:00 GMT"))
        let signed = signer.sign(HTTPRequest(.get, Self.host, "/x"), credentials)
        #expect(signed["x-amz-date"] == "20130524T002000Z")
        #expect(
            !signer.correctClock("Fri, 24 May 2013 00:20:30 GMT"), "nothing that a second try would change")
        #expect(!signer.correctClock("soon"))
        #expect(!signer.correctClock(nil))
    }
}

@Suite("Dates")
struct CivilTimeTests {
    @Test(
        "go to seconds and back",
        arguments: [
            (0, "19700101T000000Z"), (951_782_400, "20000229T000000Z"), (4_107_542_399, "21000228T235959Z"),
            (-1, "19691231T235959Z"), (1_700_000_000, "20231114T221320Z"),
        ] as [(Int64, String)])
    func seconds(seconds: Int64, text: String) {
        let time = CivilTime(secondsSinceEpoch: seconds)
        #expect(time.basic == text)
        #expect(time.secondsSinceEpoch == seconds)
    }

    @Test("of any size give a date", arguments: [Int64.min, Int64.max])
    func extremes(seconds: Int64) { #expect(CivilTime(secondsSinceEpoch: seconds).basic.hasSuffix("Z")) }

    @Test(
        "are read as servers write them",
        arguments: [
            ("2009-10-12T17:50:30.000Z", 1_255_369_830, 0), ("2009-10-12T17:50:30Z", 1_255_369_830, 0),
            ("2009-10-12T17:50:30.123456Z", 1_255_369_830, 123_456_000),
        ] as [(String, Int64, UInt32)])
    func iso(text: String, seconds: Int64, nanoseconds: UInt32) throws {
        let parsed = try #require(CivilTime.parseISO(Array(text.utf8)))
        #expect(parsed.time.secondsSinceEpoch == seconds)
        #expect(parsed.nanoseconds == nanoseconds)
    }

    @Test(
        "that are none are refused",
        arguments: [
            "", "2009-10-12", "2009-02-30T00:00:00Z", "2009-10-12T25:00:00Z", "2009-10-12T17:50:30+02:00",
            "0000-00-00T00:00:00Z", "2009-10-12T17:50:30.Z", "+009-10-12T17:50:30Z",
        ])
    func invalid(text: String) { #expect(CivilTime.parseISO(Array(text.utf8)) == nil) }

    @Test("of headers are read")
    func http() {
        #expect(CivilTime.parseHTTP("Wed, 21 Oct 2015 07:28:00 GMT")?.secondsSinceEpoch == 1_445_412_480)
        #expect(CivilTime.parseHTTP("Wed, 31 Feb 2015 07:28:00 GMT") == nil)
        #expect(CivilTime.parseHTTP("yesterday") == nil)
    }
}
