import Glibc
import HTTPExchange
import HTTPTestSupport
import KamlTestSupport
import System
import Testing

@testable import Transport

@Suite struct TrustTests {
    @Test func onlyTheNamedAuthorityIsTrusted() throws {
        let directory = try TemporaryDirectory()
        try run(
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-days", "2",
            "-keyout", "\(directory.path)/key.pem", "-out", "\(directory.path)/cert.pem", "-subj", "/CN=test",
            "-addext", "subjectAltName=IP:127.0.0.1")
        let server = try TLSServer(
            key: "\(directory.path)/key.pem", certificate: "\(directory.path)/cert.pem")
        defer { server.stop() }
        let get = HTTPRequest(.get, server.origin, "/")

        let unknown = httpError { () throws(HTTPError) in
            try CurlHTTPClient().exchange(get, Collector(), deadlines: .generous, cancellation: nil)
        }
        #expect(unknown?.code == .untrusted)
        #expect(unknown?.detail.contains("CA file") == true)

        let own = CurlHTTPClient(TransportOptions(caFile: "\(directory.path)/cert.pem"))
        let collector = Collector()
        try own.exchange(get, collector, deadlines: .generous, cancellation: nil)
        #expect(collector.heads.first?.status == 200)

        var otherName = get
        otherName.origin.host = "localhost"
        let misnamed = httpError { () throws(HTTPError) in
            try own.exchange(otherName, Collector(), deadlines: .generous, cancellation: nil)
        }
        #expect(misnamed?.code == .untrusted)

        let missing = httpError { () throws(HTTPError) in
            try CurlHTTPClient(TransportOptions(caFile: "/nowhere/ca.pem")).exchange(
                get, Collector(), deadlines: .generous, cancellation: nil)
        }
        #expect(missing?.code == .unusable)
        #expect(missing?.detail.contains("/nowhere/ca.pem") == true)
    }

    @Test func aServerThatSpeaksNoTLSIsNamedForThat() throws {
        let (plain, origin) = try ScriptedServer.listen(backlog: 4)
        defer { close(plain) }
        let thread = try Thread(name: "plain") {
            let socket = accept(plain, nil, nil)
            let text = Array("HTTP/1.1 400 Bad Request\r\n\r\n".utf8)
            send(socket, text, text.count, Int32(MSG_NOSIGNAL))
            close(socket)
        }
        let error = httpError { () throws(HTTPError) in
            try CurlHTTPClient().exchange(
                HTTPRequest(.get, HTTPOrigin(isSecure: true, host: origin.host, port: origin.port), "/"),
                Collector(),
                deadlines: .generous, cancellation: nil)
        }
        thread.join()
        #expect(error?.code == .cannotConnect)
        #expect(error?.detail.contains("does not speak TLS") == true, "\(String(describing: error))")
    }
}

@Suite struct HandshakeTests {
    /// A proxy or a load balancer that is short of something: it passes.
    @Test(arguments: [true, false])
    func aConnectionThatGoesInTheHandshakeIsNoQuestionOfTrust(_ isReset: Bool) throws {
        let (listener, origin) = try ScriptedServer.listen(backlog: 4)
        defer { close(listener) }
        let thread = try Thread(name: "handshake") {
            let socket = accept(listener, nil, nil)
            var byte: UInt8 = 0
            // The hello has begun to come; closing over its rest resets.
            if !isReset { shutdown(socket, Int32(SHUT_WR)) }
            recv(socket, &byte, 1, 0)
            if isReset {
                var linger = linger(l_onoff: 1, l_linger: 0)
                setsockopt(
                    socket, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout.size(ofValue: linger)))
            } else {
                var rest = [UInt8](repeating: 0, count: 4096)
                recv(socket, &rest, rest.count, 0)
            }
            close(socket)
        }
        let error = httpError { () throws(HTTPError) in
            try CurlHTTPClient().exchange(
                HTTPRequest(.get, HTTPOrigin(isSecure: true, host: origin.host, port: origin.port), "/"),
                Collector(), deadlines: .generous, cancellation: nil)
        }
        thread.join()
        #expect(error?.code == .cannotConnect, "\(String(describing: error))")
    }
}

@Suite struct ProxyTests {
    @Test(arguments: [
        "gopher://u:canary@127.0.0.1:1", "http://u:canary@:99999999", "http://u:canary@127.0.0.1:x",
    ])
    func theProxysPasswordIsNeverTold(_ address: String) throws {
        let error = httpError { () throws(HTTPError) in
            try CurlHTTPClient(TransportOptions(proxy: .url(address))).exchange(
                HTTPRequest(.get, HTTPOrigin(isSecure: false, host: "bucket.example"), "/"), Collector(),
                deadlines: .generous, cancellation: nil)
        }
        #expect(error != nil)
        #expect(error?.description.contains("canary") == false, "\(String(describing: error))")
    }

    @Test func aNamedProxyGetsTheWholeAddress() throws {
        let proxy = try ScriptedServer { _ in [.answer(200, [7])] }
        defer { proxy.stop() }
        let client = CurlHTTPClient(TransportOptions(proxy: .url("\(proxy.origin)")))
        let collector = Collector()
        let origin = HTTPOrigin(isSecure: false, host: "bucket.example", port: 8080)
        try client.exchange(
            HTTPRequest(.get, origin, "/a/../b%2Fc?x=", fields: [HTTPField("authorization", "secret")]),
            collector,
            deadlines: .generous, cancellation: nil)
        #expect(collector.body == [7])
        #expect(proxy.requests.map(\.target) == ["http://bucket.example:8080/a/../b%2Fc?x="])
        #expect(proxy.requests.first?["host"] == "bucket.example:8080")
    }

    @Test(arguments: [true, false])
    func aProxyThatIsNotThereIsNamed(isSecure: Bool) throws {
        let (listener, gone) = try ScriptedServer.listen(backlog: 1)
        close(listener)
        let client = CurlHTTPClient(
            TransportOptions(proxy: .url("http://user:canary@127.0.0.1:\(gone.port ?? 0)")))
        let error = httpError { () throws(HTTPError) in
            try client.exchange(
                HTTPRequest(.get, HTTPOrigin(isSecure: isSecure, host: "bucket.example"), "/"), Collector(),
                deadlines: .generous, cancellation: nil)
        }
        #expect(error?.code == .cannotConnect)
        #expect(
            error?.detail.hasPrefix("the proxy cannot be reached") == true, "\(String(describing: error))")
        #expect(error?.description.contains("canary") == false)
    }

    @Test func aServerThatIsNotThereIsNoProxy() throws {
        let (listener, gone) = try ScriptedServer.listen(backlog: 1)
        close(listener)
        let error = httpError { () throws(HTTPError) in
            try CurlHTTPClient().exchange(
                HTTPRequest(.get, gone, "/"), Collector(), deadlines: .generous, cancellation: nil)
        }
        #expect(error?.code == .cannotConnect)
        #expect(error?.detail.contains("proxy") == false, "\(String(describing: error))")
    }

    @Test func aTunnelSeesNoFieldsOfTheRequest() throws {
        let proxy = try ScriptedServer { _ in [.answer(403), .close] }
        defer { proxy.stop() }
        let client = CurlHTTPClient(TransportOptions(proxy: .url("\(proxy.origin)")))
        let error = httpError { () throws(HTTPError) in
            try client.exchange(
                HTTPRequest(
                    .get, HTTPOrigin(isSecure: true, host: "bucket.example"), "/secret-path",
                    fields: [HTTPField("authorization", "secret")]), Collector(), deadlines: .generous,
                cancellation: nil)
        }
        #expect(error?.code == .cannotConnect)
        let seen = try #require(proxy.requests.first)
        #expect(seen.method == "CONNECT")
        #expect(seen.target == "bucket.example:443")
        #expect(!seen.fields.contains { $0.value.contains("secret") })
    }

    @Test func linkLocalAddressesNeverGoThroughAProxy() throws {
        let proxy = try ScriptedServer { _ in [.answer(200)] }
        defer { proxy.stop() }
        let client = CurlHTTPClient(TransportOptions(proxy: .url("\(proxy.origin)")))
        var deadlines = HTTPDeadlines.generous
        deadlines.connect = 50_000_000
        deadlines.total = 100_000_000
        _ = httpError { () throws(HTTPError) in
            try client.exchange(
                HTTPRequest(.get, HTTPOrigin(isSecure: false, host: "169.254.169.254"), "/latest/"),
                Collector(),
                deadlines: deadlines, cancellation: nil)
        }
        #expect(proxy.accepted == 0)
    }

    @Test func anAddressThatNobodyListensOnIsNamed() throws {
        let (listener, origin) = try ScriptedServer.listen(backlog: 1)
        close(listener)
        let error = httpError { () throws(HTTPError) in
            try CurlHTTPClient().exchange(
                HTTPRequest(.get, origin, "/"), Collector(), deadlines: .generous, cancellation: nil)
        }
        #expect(error?.code == .cannotConnect)
        #expect(error?.description.contains(origin.description) == true)
    }
}
