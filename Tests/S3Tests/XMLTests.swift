import ObjectStore
import System
import Testing

@testable import S3

@Suite("XML of a server")
struct XMLTests {
    private func texts(_ xml: String) throws -> [String] {
        var found: [String] = []
        try XMLElements.walk(Array(xml.utf8)) { path, step throws(XMLError) in
            if case .ends(let text) = step {
                found.append(path.joined(separator: "/") + "=" + String(decoding: text, as: UTF8.self))
            }
        }
        return found
    }

    @Test("is read with its elements, references and character data")
    func reads() throws {
        #expect(try texts("<a/>") == ["a="])
        #expect(
            try texts("\n\n<?xml version=\"1.0\"?><!-- <x> --><a b='>' c=\"</a>\"><d>1</d> <e/></a>\n") == [
                "a/d=1", "a/e=", "a=",
            ])
        #expect(try texts("<a>&lt;&gt;&amp;&quot;&apos;&#65;&#x1F600;</a>") == ["a=<>&\"'A\u{1F600}"])
        #expect(try texts("<n:a xmlns:n='u'>x<![CDATA[<&]]>y</n:a>") == ["a=x<&y"])
    }

    @Test(
        "is refused where it is not what S3 may send",
        arguments: [
            "", " ", "<a>", "</a>", "<a></b>", "<a/><b/>", "x<a/>", "<a/>x", "<a", "<a b='", "<a><b</a>",
            "<!DOCTYPE a><a/>",
            "<!DOCTYPE a [<!ENTITY x \"&x;&x;\">]><a>&x;</a>", "<a>&x;</a>", "<a>&#0;</a>", "<a>&#xD800;</a>",
            "<a>&#x110000;</a>", "<a>&#-1;</a>", "<a>&amp</a>", "<a>&", "<!-- <a/>", "<a><![CDATA[", "<>x</>",
            "<a / b>",
            "<html><br></html>", "{\"a\": 1}",
        ])
    func refuses(xml: String) { #expect(throws: XMLError.self) { try texts(xml) } }

    @Test("is bounded in depth, in names and in texts")
    func bounds() throws {
        let deep = XMLScanner.maximumDepth
        func nested(_ depth: Int) -> String {
            String(repeating: "<a>", count: depth) + String(repeating: "</a>", count: depth)
        }
        #expect(try texts(nested(deep)).count == deep)
        #expect(throws: XMLError.self) { try texts(nested(deep + 1)) }
        #expect(throws: XMLError.self) { try texts("<\(String(repeating: "a", count: 129))/>") }
        let long = String(repeating: "x", count: XMLScanner.maximumTextBytes)
        #expect(try texts("<a>\(long)</a>").count == 1)
        #expect(throws: XMLError.self) { try texts("<a>\(long)x</a>") }
        #expect(throws: XMLError.self) { try texts("<a>\(long)<!-- -->x</a>") }
        #expect(throws: XMLError.self) { try texts("<a><![CDATA[\(long)x]]></a>") }
    }

    @Test("that is not UTF-8 is refused")
    func encoding() {
        #expect(throws: XMLError.self) { try XMLScanner(Array("<a>".utf8) + [0xFF] + Array("</a>".utf8)) }
    }
}

@Suite("A page of a listing")
struct ListPageTests {
    private func page(_ body: String, root: String = "ListBucketResult") throws -> ListPage {
        try ListPage(Array("<\(root)>\(body)</\(root)>".utf8))
    }

    @Test("tells its objects and how it goes on")
    func objects() throws {
        let page = try page(
            """
            <IsTruncated>true</IsTruncated><NextContinuationToken>1/+=&amp;</NextContinuationToken>
            <Contents><Key>a%2Fb+c%25%FF</Key><Size>18446744</Size><ETag>&quot;abc-3&quot;</ETag>
            <LastModified>2026-01-02T03:04:05.678Z</LastModified><StorageClass>GLACIER</StorageClass>
            <Owner><ID>x</ID><Key>not this</Key></Owner></Contents>
            <EncodingType>url</EncodingType><CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes>
            """)
        #expect(page.isTruncated)
        #expect(page.continuationToken == "1/+=&")
        #expect(page.objects.count == 1)
        let object = try #require(page.objects.first)
        #expect(object.key.bytes == Array("a/b c%".utf8) + [0xFF])
        #expect(object.size == 18_446_744)
        #expect(object.version == ObjectVersion(tag: "abc-3"))
        #expect(object.modified == Timestamp(seconds: 1_767_323_045, nanoseconds: 678_000_000))
        #expect(object.storageClass == "GLACIER")
    }

    @Test("leaves keys as they are when the server did not encode them")
    func plainKeys() throws {
        let page = try page("<Contents><Key>a%2F+b&amp;c</Key><Size>0</Size></Contents>")
        #expect(page.objects.map(\.key) == ["a%2F+b&c"])
    }

    @Test("tells versions, and which is the newest")
    func versions() throws {
        let page = try page(
            """
            <Version><Key>a</Key><VersionId>2</VersionId><IsLatest>true</IsLatest><Size>1</Size></Version>
            <Version><Key>a</Key><VersionId>1</VersionId><IsLatest>false</IsLatest><Size>1</Size></Version>
            <DeleteMarker><Key>b</Key><VersionId>3</VersionId><IsLatest>true</IsLatest></DeleteMarker>
            """, root: "ListVersionsResult")
        #expect(page.objects.map(\.version.id) == ["2", "1"])
        #expect(page.objects.map(\.isLatest) == [true, false])
    }

    @Test(
        "is refused where it makes no sense",
        arguments: [
            "<Contents><Size>100000000000000000000</Size></Contents>", "<Contents><Size>-1</Size></Contents>",
            "<Contents><Size></Size></Contents>", "<Contents><Size>+1</Size></Contents>",
            "<Contents><Size>9223372036854775808</Size></Contents>",
            "<Contents><LastModified>now</LastModified></Contents>", "<IsTruncated>maybe</IsTruncated>",
            "<EncodingType>url</EncodingType><Contents><Key>%G0</Key></Contents>",
        ])
    func refuses(body: String) { #expect(throws: XMLError.self) { try page(body) } }

    @Test("is not HTML, nor another answer")
    func otherRoots() {
        #expect(throws: XMLError.self) { try page("", root: "html") }
        #expect(throws: XMLError.self) { try page("<Code>NoSuchBucket</Code>", root: "Error") }
    }

    @Test("follows the one before it")
    func progress() throws {
        var progress = ListProgress(Array("p/".utf8))
        try progress.has("p/a")
        try progress.has("p/b")
        #expect(throws: XMLError.self) { try progress.has("p/b") }
        #expect(throws: XMLError.self) { try progress.has("q") }
        try progress.goesOn("1")
        try progress.goesOn("2")
        #expect(throws: XMLError.self) { try progress.goesOn("2") }
        #expect(throws: XMLError.self) { try progress.goesOn(nil) }
        #expect(throws: XMLError.self) {
            for token in 0..<10_000 { try progress.goesOn("empty \(token)") }
        }
    }
}

@Suite("A refusal's body")
struct ErrorAnswerTests {
    @Test("tells the code and the words, and nothing of the request")
    func parses() throws {
        let answer = try #require(
            ErrorAnswer(
                Array(
                    """
                    <?xml version="1.0"?><Error><Code>SignatureDoesNotMatch</Code><Message>no; never\n</Message>
                    <StringToSign>canary</StringToSign><Region>eu-west-1</Region></Error>
                    """.utf8)))
        #expect(answer.code == "SignatureDoesNotMatch")
        #expect(answer.message == "no, never?")
        #expect(answer.region == "eu-west-1")
        #expect(!"\(answer)".contains("canary"))
    }

    @Test(
        "is nothing else",
        arguments: ["", "<html><body>502</body></html>", "<Error></Error>", "<Error><Code>x</Code>"])
    func others(body: String) { #expect(ErrorAnswer(Array(body.utf8)) == nil) }
}
