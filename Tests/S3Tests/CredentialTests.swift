import HTTPExchange
import KamlTestSupport
import Synchronization
import System
import Testing

@testable import S3

@Suite("Credentials")
struct CredentialTests {
    private func chain(
        _ variables: [String: String], profile: String? = nil,
        clock: FixedClock = FixedClock(seconds: 1_700_000_000),
        _ services: @escaping @Sendable (HTTPRequest) -> (Int, String)? = { _ in nil }
    ) -> CredentialChain {
        .standard(
            S3Settings(profile: profile), S3Environment(variables: variables.lookup, clock: clock),
            ServiceCaller(client: FakeServices(services)), region: "eu-central-1")
    }

    private func text(_ secret: Secret?) -> String? { secret?.revealed { $0 } }

    @Test("come from the environment first")
    func environment() throws {
        let found = try #require(
            try chain([
                "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_SESSION_TOKEN": "c",
                "AWS_WEB_IDENTITY_TOKEN_FILE": "/nowhere",
            ]).credentials())
        #expect(text(found.accessKey) == "a")
        #expect(text(found.secretKey) == "b")
        #expect(text(found.sessionToken) == "c")
        #expect(found.expires == nil)
    }

    @Test("that are half there are an error")
    func half() {
        #expect(throws: CredentialError.self) { try chain(["AWS_ACCESS_KEY_ID": "a"]).credentials() }
        #expect(throws: CredentialError.self) {
            try chain(["AWS_WEB_IDENTITY_TOKEN_FILE": "/x"]).credentials()
        }
    }

    @Test("that are nowhere are none")
    func none() throws { #expect(try chain([:]).credentials() == nil) }

    @Test("of a profile are found in both shared files, under their two names")
    func profiles() throws {
        let directory = try TemporaryDirectory()
        let config = try directory.write(
            "config",
            """
            # comment
            [default]
            region = us-west-2
            [profile work]
            region=eu-west-3
            endpoint_url = https://store.example
            s3 =
              addressing_style = path
            aws_access_key_id = CONFIG
            aws_secret_access_key = CONFIGSECRET
            """)
        let credentials = try directory.write(
            "credentials",
            "[default]\r\naws_access_key_id = D\r\naws_secret_access_key = DS\r\n\n[ work ]\naws_access_key_id=W ; note\naws_secret_access_key=W+/S=\n"
        )
        let files = ["AWS_CONFIG_FILE": config, "AWS_SHARED_CREDENTIALS_FILE": credentials]
        let standard = try #require(try chain(files).credentials())
        #expect(text(standard.accessKey) == "D")
        let work = try #require(try chain(files.merging(["AWS_PROFILE": "work"]) { $1 }).credentials())
        #expect(text(work.accessKey) == "W")
        #expect(text(work.secretKey) == "W+/S=")
        #expect(work.origin.contains("work") && work.origin.contains(credentials))
        // A profile on the command line counts before the environment.
        let both = files.merging(["AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"]) { $1 }
        #expect(text(try chain(both).credentials()?.accessKey) == "a")
        #expect(text(try chain(both, profile: "work").credentials()?.accessKey) == "W")
        let settings = S3Settings(profile: "work").completed(from: S3Environment(variables: files.lookup))
        #expect(settings.region == "eu-west-3")
        #expect(settings.endpoint == "https://store.example")
        let error = #expect(throws: CredentialError.self) { try chain(files, profile: "home").credentials() }
        #expect(error?.description.contains("\"home\"") == true)
    }

    @Test(
        "that a profile wants to get in ways kaml does not know are refused in words",
        arguments: [
            "role_arn = arn:x\nsource_profile = y", "credential_process = /bin/true", "sso_session = z",
        ])
    func unknownWays(lines: String) throws {
        let directory = try TemporaryDirectory()
        let config = try directory.write("config", "[profile p]\n\(lines)\n")
        let error = #expect(throws: CredentialError.self) {
            try chain(["AWS_CONFIG_FILE": config], profile: "p").credentials()
        }
        #expect(error?.description.contains("kaml does not do") == true)
    }

    @Test("of a web identity are traded for the token in its file")
    func webIdentity() throws {
        let directory = try TemporaryDirectory()
        let file = try directory.write("token", "to.k/en\n")
        let asked = Mutex<HTTPRequest?>(nil)
        let found = try #require(
            try chain(["AWS_WEB_IDENTITY_TOKEN_FILE": file, "AWS_ROLE_ARN": "arn:aws:iam::1:role/r"]) {
                request in
                asked.withLock { $0 = request }
                return (
                    200,
                    """
                    <AssumeRoleWithWebIdentityResponse xmlns="x"><AssumeRoleWithWebIdentityResult>
                    <Credentials><AccessKeyId>A</AccessKeyId><SecretAccessKey>S</SecretAccessKey>
                    <SessionToken>T</SessionToken><Expiration>2026-01-02T03:04:05Z</Expiration></Credentials>
                    </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>
                    """
                )
            }.credentials())
        #expect(text(found.accessKey) == "A")
        #expect(text(found.sessionToken) == "T")
        #expect(found.expires == 1_767_323_045)
        let request = try #require(asked.withLock { $0 })
        #expect(request.origin.description == "https://sts.eu-central-1.amazonaws.com")
        let form = String(decoding: FakeS3.bytes(request.body), as: UTF8.self)
        #expect(form.contains("RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr"))
        #expect(form.contains("WebIdentityToken=to.k%2Fen"))
        #expect(request["authorization"] == nil)
    }

    @Test("of a web identity that is refused tell the service's words, not the token")
    func refusedIdentity() throws {
        let directory = try TemporaryDirectory()
        let file = try directory.write("token", "canary")
        let error = #expect(throws: CredentialError.self) {
            try chain(["AWS_WEB_IDENTITY_TOKEN_FILE": file, "AWS_ROLE_ARN": "r"]) { _ in
                (
                    403,
                    "<ErrorResponse><Error><Code>AccessDenied</Code><Message>not you</Message></Error></ErrorResponse>"
                )
            }.credentials()
        }
        #expect(error?.description.contains("AccessDenied: not you") == true)
        #expect(error?.description.contains("canary") == false)
    }

    @Test("of a container come from its service, with the token of the moment")
    func container() throws {
        let directory = try TemporaryDirectory()
        let token = try directory.write("token", "T1\n")
        let found = try chain([
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": token,
        ]) { request in
            guard request.target == "/v1/credentials", request["authorization"] == "T1" else {
                return (400, "")
            }
            return (
                200,
                #"{"AccessKeyId":"A","SecretAccessKey":"S","Token":"T","Expiration":"2026-01-02T03:04:05Z"}"#
            )
        }.credentials()
        #expect(text(found?.secretKey) == "S")
        #expect(found?.expires == 1_767_323_045)
    }

    @Test(
        "are asked for without TLS on this machine only",
        arguments: [
            ("http://localhost:1/x", true), ("http://127.3.2.1/x", true), ("http://[::1]/x", true),
            ("http://[fd00:ec2::23]/v1", true), ("https://anywhere.example/x", true),
            ("http://anywhere.example/x", false), ("http://127.0.0.1.example/x", false),
            ("http://169.254.169.254/x", false), ("ftp://localhost/x", false),
            ("http://u:p@localhost/x", false),
        ] as [(String, Bool)])
    func containerHosts(url: String, isAllowed: Bool) throws {
        let asked = Atomic(false)
        _ = try? chain(["AWS_CONTAINER_CREDENTIALS_FULL_URI": url]) { _ in
            asked.store(true, ordering: .relaxed)
            return (200, "{}")
        }.credentials()
        #expect(asked.load(ordering: .relaxed) == isAllowed)
    }

    @Test("of an instance are asked for with a session's token")
    func instance() throws {
        let found = try chain([:]) { request in
            switch (request.method, request.target) {
            case (.put, "/latest/api/token"):
                return request["x-aws-ec2-metadata-token-ttl-seconds"] == nil ? (400, "") : (200, "SESSION")
            case (.get, "/latest/meta-data/iam/security-credentials/")
            where request["x-aws-ec2-metadata-token"] == "SESSION":
                return (200, "my role\n")
            case (.get, "/latest/meta-data/iam/security-credentials/my%20role"):
                return (200, #"{"Code":"Success","AccessKeyId":"A","SecretAccessKey":"S","Token":"T"}"#)
            default: return (404, "")
            }
        }.credentials()
        #expect(text(found?.accessKey) == "A")
        #expect(try chain(["AWS_EC2_METADATA_DISABLED": "true"]) { _ in (200, "x") }.credentials() == nil)
    }

    @Test("of an instance are asked for again when the service drops a request")
    func droppedMetadata() throws {
        let asked = Mutex<[String: Int]>([:])
        let provider = chain([:]) { request in
            let turn = asked.withLock { asked in
                asked[request.target, default: 0] += 1
                return asked[request.target]
            }
            if turn == 1 { return (503, "") }
            switch request.target {
            case "/latest/api/token": return (200, "SESSION")
            case "/latest/meta-data/iam/security-credentials/": return (200, "role")
            default: return (200, #"{"AccessKeyId":"A","SecretAccessKey":"S","Token":"T"}"#)
            }
        }
        #expect(text(try provider.credentials()?.accessKey) == "A")
    }

    @Test("of an instance that gave some before are away for a while, not absent")
    func lostMetadata() throws {
        let isAway = Atomic(false)
        let provider = chain([:]) { request in
            if isAway.load(ordering: .relaxed) { return nil }
            switch request.target {
            case "/latest/api/token": return (200, "SESSION")
            case "/latest/meta-data/iam/security-credentials/": return (200, "role")
            default: return (200, #"{"AccessKeyId":"A","SecretAccessKey":"S","Token":"T"}"#)
            }
        }
        #expect(try provider.credentials() != nil)
        isAway.store(true, ordering: .relaxed)
        let error = #expect(throws: CredentialError.self) { try provider.credentials() }
        #expect(error?.isTemporary == true)
    }

    @Test("are never shown")
    func secrets() {
        let credentials = S3Credentials(
            accessKey: "canary1", secretKey: "canary2", sessionToken: "canary3", origin: "here")
        var dumped = ""
        dump(credentials, to: &dumped)
        for text in ["\(credentials)", String(reflecting: credentials), dumped, "\(credentials.secretKey)"] {
            #expect(!text.contains("canary"))
        }
    }
}

@Suite("Credentials of the moment")
struct CredentialStateTests {
    private func credentials(_ name: String, expires: Int64? = nil) -> S3Credentials {
        S3Credentials(accessKey: name, secretKey: "s", expires: expires, origin: "test")
    }

    private let second: UInt64 = 1_000_000_000

    private func state(_ held: S3Credentials) -> CredentialState {
        var state = CredentialState()
        _ = state.decide(monotonic: 0)
        _ = state.got(.success(held), now: 0, monotonic: 0)
        return state
    }

    @Test("are got by one caller while the others wait")
    func singleFlight() {
        var state = CredentialState()
        #expect(state.decide(monotonic: 0) == .get)
        #expect(state.decide(monotonic: 0) == .wait)
        _ = state.got(.success(credentials("a")), now: 0, monotonic: 0)
        #expect(state.decide(monotonic: 1 << 60) == .use(credentials("a")))
    }

    @Test("are renewed five minutes early, and used meanwhile and after a failure")
    func renewal() {
        let old = credentials("a", expires: 1000)
        var state = state(old)
        #expect(state.decide(monotonic: 699 * second) == .use(old))
        #expect(state.decide(monotonic: 700 * second) == .get)
        #expect(state.decide(monotonic: 701 * second) == .use(old))
        let failure = CredentialError("x", advice: "y")
        #expect(state.got(.failure(failure), now: 702, monotonic: 702 * second) == .success(old))
        #expect(state.decide(monotonic: 703 * second) == .use(old), "not asked again at once")
        #expect(state.decide(monotonic: 705 * second) == .get)
        #expect(
            state.got(.failure(failure), now: 1000, monotonic: 1000 * second) == .failure(failure),
            "they have expired")
        #expect(state.decide(monotonic: 1001 * second) == .fail(failure))
    }

    @Test("that are always about to end are not renewed for every request")
    func shortLives() {
        let short = credentials("a", expires: 200)
        var state = state(short)
        #expect(state.decide(monotonic: 59 * second) == .use(short))
        #expect(state.decide(monotonic: 60 * second) == .get)
    }

    @Test("that are just made are used although they have expired by this machine's clock")
    func wrongClock() {
        var state = CredentialState()
        _ = state.decide(monotonic: 0)
        let made = credentials("a", expires: 1000)
        #expect(state.got(.success(made), now: 90_000, monotonic: 0) == .success(made))
        #expect(state.decide(monotonic: second) == .use(made))
        #expect(state.decide(monotonic: 60 * second) == .get)
        var extreme = CredentialState()
        _ = extreme.decide(monotonic: 0)
        _ = extreme.got(.success(credentials("b", expires: .max)), now: .min, monotonic: 0)
        _ = extreme.got(.success(credentials("b", expires: .min)), now: .max, monotonic: 0)
    }

    @Test("that were refused for certain are got anew, unless others came meanwhile")
    func refusal() {
        var state = state(credentials("a"))
        let others = state.refuse(credentials("b"), isCertain: true, monotonic: 0)
        #expect(others, "others have come")
        #expect(state.decide(monotonic: 0) == .use(credentials("a")))
        let first = state.refuse(credentials("a"), isCertain: true, monotonic: 0)
        #expect(first)
        #expect(state.decide(monotonic: 0) == .get)
        _ = state.got(.success(credentials("a")), now: 0, monotonic: second)
        let second = state.refuse(credentials("a"), isCertain: true, monotonic: second)
        #expect(!second, "not again and again")
    }

    @Test("that were refused without a reason stay in use, and are asked for anew once a minute")
    func uncertainRefusal() {
        let good = credentials("a")
        var state = state(good)
        let first = state.refuse(good, isCertain: false, monotonic: 0)
        #expect(first)
        #expect(state.decide(monotonic: 0) == .get)
        #expect(state.decide(monotonic: 0) == .use(good), "by others meanwhile")
        let failure = CredentialError("x", advice: "y")
        #expect(state.got(.failure(failure), now: 0, monotonic: 0) == .success(good))
        let early = state.refuse(good, isCertain: false, monotonic: 59 * second)
        #expect(!early)
        let later = state.refuse(good, isCertain: false, monotonic: 60 * second)
        #expect(later)
    }

    @Test("are asked for once by many threads")
    func threads() throws {
        let provider = CountingProvider()
        let store = CredentialStore(provider, clock: FixedClock(seconds: 0))
        try inParallel(8) { _ in
            for _ in 0..<100 { _ = try store.current() }
        }
        #expect(provider.count.load(ordering: .relaxed) == 1)
    }
}

private final class CountingProvider: CredentialProvider {
    let count = Atomic(0)

    func credentials() throws(CredentialError) -> S3Credentials? {
        count.wrappingAdd(1, ordering: .relaxed)
        return S3Credentials(accessKey: "a", secretKey: "b", origin: "test")
    }
}

/// Answers credential services' requests; nil for nobody there.
private final class FakeServices: HTTPClient {
    private let answer: @Sendable (HTTPRequest) -> (Int, String)?

    init(_ answer: @escaping @Sendable (HTTPRequest) -> (Int, String)?) { self.answer = answer }

    func exchange(
        _ request: HTTPRequest, _ receiver: any HTTPReceiver, deadlines: HTTPDeadlines,
        cancellation: HTTPCancellation?
    ) throws(HTTPError) -> HTTPResponseHead {
        try request.checkSendable()
        guard let (status, body) = answer(request) else {
            throw HTTPError(.cannotConnect, request.origin, "nobody there")
        }
        let head = HTTPResponseHead(status: status, fields: [])
        try receiver.receive(head)
        let outcome = Array(body.utf8).withUnsafeBytes { bytes in
            Result { () throws(HTTPError) in try receiver.receive(bytes) }
        }
        _ = try outcome.get()
        return head
    }
}
