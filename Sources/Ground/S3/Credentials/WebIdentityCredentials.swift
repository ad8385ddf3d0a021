import HTTPExchange
import System

/// A token that a Kubernetes service account (IRSA) or another identity provider keeps in a file, traded at STS for
/// credentials of a role.
struct WebIdentityCredentials: CredentialProvider {
    var environment: S3Environment
    var services: ServiceCaller
    var region: String

    static let maximumTokenBytes = 64 << 10

    func credentials() throws(CredentialError) -> S3Credentials? {
        guard let file = environment["AWS_WEB_IDENTITY_TOKEN_FILE"] else { return nil }
        guard let role = environment["AWS_ROLE_ARN"] else {
            throw CredentialError(
                "AWS_WEB_IDENTITY_TOKEN_FILE is set, AWS_ROLE_ARN is not", advice: "set both or none of them")
        }
        return try assume(
            role, tokenFile: file, session: environment["AWS_ROLE_SESSION_NAME"],
            "web identity for AWS_ROLE_ARN")
    }

    func assume(
        _ role: String, tokenFile: String, session: String?, _ origin: String
    ) throws(CredentialError) -> S3Credentials {
        let token = try Self.token(tokenFile)
        let values = [
            ("Action", "AssumeRoleWithWebIdentity"), ("RoleArn", role),
            ("RoleSessionName", session ?? "kaml-\(environment.clock.now().seconds)"),
            ("Version", "2011-06-15"), ("WebIdentityToken", token),
        ]
        let form = values.map { "\($0)=\(PercentCoding.encode($1.utf8))" }.joined(separator: "&")
        let address = try address()
        let answer: ServiceCaller.Answer
        do throws(HTTPError) {
            answer = try services.ask(
                .post, address,
                fields: [
                    HTTPField("content-type", "application/x-www-form-urlencoded"),
                    HTTPField("accept", "application/xml"),
                ], body: .bytes(Array(form.utf8)), seconds: 10)
        } catch {
            throw CredentialError(
                "the token service did not answer: \(error)",
                advice: "check that this machine reaches \(address.origin)", isTemporary: true)
        }
        guard answer.status == 200 else {
            let said = ErrorAnswer(answer.body).map { "\($0.code): \($0.message)" } ?? "nothing more"
            throw CredentialError(
                "the token service \(address.origin) answered \(answer.status), \(said)",
                advice: "check the role, its trust policy and the token file",
                isTemporary: answer.status >= 500)
        }
        do throws(XMLError) { return try Self.credentials(answer.body, origin) } catch {
            throw CredentialError(
                "the answer of the token service \(address.origin) cannot be used: \(error)",
                advice: "check that it is an STS endpoint")
        }
    }

    /// What STS answers, below `AssumeRoleWithWebIdentityResult`.
    static func credentials(_ body: [UInt8], _ origin: String) throws(XMLError) -> S3Credentials {
        var values: [String: String] = [:]
        try XMLElements.walk(body) { path, step throws(XMLError) in
            guard case .ends(let text) = step, path.count == 4, path[2] == "Credentials" else { return }
            values[path[3]] = String(decoding: text, as: UTF8.self)
        }
        guard let accessKey = values["AccessKeyId"], let secretKey = values["SecretAccessKey"],
            let token = values["SessionToken"], !accessKey.isEmpty, !secretKey.isEmpty
        else { throw XMLError("it holds no credentials") }
        guard let expires = values["Expiration"].flatMap({ CivilTime.parseISO(Array($0.utf8)) }) else {
            throw XMLError("it does not say when they expire")
        }
        return S3Credentials(
            accessKey: accessKey, secretKey: secretKey, sessionToken: token,
            expires: expires.time.secondsSinceEpoch, origin: origin)
    }

    private func address() throws(CredentialError) -> HTTPAddress {
        guard let text = environment["AWS_ENDPOINT_URL_STS"] else {
            let origin = S3Location.awsOrigin(region, service: "sts")
            guard let address = HTTPAddress("\(origin)/") else {
                throw CredentialError("the region has no token service", advice: "set AWS_REGION")
            }
            return address
        }
        guard let address = HTTPAddress(text) else {
            throw CredentialError("AWS_ENDPOINT_URL_STS is no URL", advice: "set it to https://host:port")
        }
        return address
    }

    private static func token(_ path: String) throws(CredentialError) -> String {
        let bytes: [UInt8]?
        do throws(Errno) { bytes = try BoundedFile.read(ByteString(path), limit: maximumTokenBytes) } catch {
            throw CredentialError(
                "cannot read the token file \(path): \(error)", advice: "check its path, owner and mode")
        }
        let token = bytes.map { String(decoding: $0, as: UTF8.self).filter { !$0.isWhitespace } } ?? ""
        guard !token.isEmpty else {
            throw CredentialError(
                "the token file \(path) is empty or too long", advice: "check what writes it")
        }
        return token
    }
}
