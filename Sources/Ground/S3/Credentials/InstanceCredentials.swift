import HTTPExchange
import Synchronization

/// The metadata service of a cloud's virtual machine (IMDS, version 2 only: version 1 can be abused by requests that
/// somebody tricks a server into).
final class InstanceCredentials: CredentialProvider {
    private let environment: S3Environment
    private let services: ServiceCaller
    /// Then a service that does not answer is ill, not absent.
    private let hasWorked = Atomic(false)

    init(environment: S3Environment, services: ServiceCaller) {
        self.environment = environment
        self.services = services
    }

    private static let origin = "the instance's metadata service"
    private static let defaultAddress = "http://169.254.169.254"
    /// Seconds. Off a cloud nobody answers, and everybody would wait.
    private static let patience: UInt64 = 1
    /// The service drops a request now and then, when many ask.
    private static let tries = 2
    private static let triesWhereItWorked = 3

    /// Nil also when nobody answers and nobody ever did: then this is no such machine.
    func credentials() throws(CredentialError) -> S3Credentials? {
        guard environment["AWS_EC2_METADATA_DISABLED"]?.lowercased() != "true" else { return nil }
        let base = environment["AWS_EC2_METADATA_SERVICE_ENDPOINT"] ?? Self.defaultAddress
        guard
            let token = try? ask(
                .put, base, "/latest/api/token",
                [
                    HTTPField("x-aws-ec2-metadata-token-ttl-seconds", "300")
                ]), token.status == 200
        else {
            guard hasWorked.load(ordering: .relaxed) else { return nil }
            throw CredentialError(
                "\(Self.origin) gives no token any more", advice: "check the instance's metadata service",
                isTemporary: true)
        }
        let fields = [HTTPField("x-aws-ec2-metadata-token", String(decoding: token.body, as: UTF8.self))]
        do throws(HTTPError) {
            let path = "/latest/meta-data/iam/security-credentials/"
            let roles = try ask(.get, base, path, fields)
            // A machine without a role.
            guard roles.status == 200,
                let role = String(decoding: roles.body, as: UTF8.self).split(whereSeparator: \.isNewline)
                    .first
            else { return nil }
            let answer = try ask(.get, base, path + PercentCoding.encode(role.utf8), fields)
            guard answer.status == 200,
                let credentials = ServiceDocument.credentials(answer.body, Self.origin)
            else {
                throw HTTPError(
                    .refused, HTTPOrigin(isSecure: false, host: "169.254.169.254"),
                    "it answered \(answer.status) and no credentials")
            }
            hasWorked.store(true, ordering: .relaxed)
            return credentials
        } catch {
            throw CredentialError(
                "\(Self.origin) failed: \(error)", advice: "check the instance's role", isTemporary: true)
        }
    }

    private func ask(
        _ method: HTTPMethod, _ base: String, _ path: String, _ fields: [HTTPField]
    ) throws(HTTPError) -> ServiceCaller.Answer {
        guard let address = HTTPAddress((base.hasSuffix("/") ? String(base.dropLast()) : base) + path) else {
            throw HTTPError(.unusable, HTTPOrigin(isSecure: false, host: ""), "the endpoint is no URL")
        }
        var left = hasWorked.load(ordering: .relaxed) ? Self.triesWhereItWorked : Self.tries
        while true {
            left -= 1
            do throws(HTTPError) {
                let answer = try services.ask(method, address, fields: fields, seconds: Self.patience)
                if answer.status < 500 || left == 0 { return answer }
            } catch {
                // Where nobody listens, nobody will.
                if error.code == .cannotConnect && !hasWorked.load(ordering: .relaxed) || left == 0 {
                    throw error
                }
            }
        }
    }
}
