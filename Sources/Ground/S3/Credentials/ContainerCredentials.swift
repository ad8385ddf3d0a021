import HTTPExchange
import System

/// The service that ECS, EKS Pod Identity and the like run beside a container.
struct ContainerCredentials: CredentialProvider {
    var environment: S3Environment
    var services: ServiceCaller

    private static let origin = "the container's credential service"
    private static let defaultAddress = "http://169.254.170.2"
    /// Where a service may be asked without TLS: on this machine only.
    private static let plainHosts: Set = [
        "127.0.0.1", "localhost", "::1", "169.254.170.2", "169.254.170.23", "fd00:ec2::23",
    ]

    func credentials() throws(CredentialError) -> S3Credentials? {
        guard let address = try address() else { return nil }
        var fields = [HTTPField("accept", "application/json")]
        if let token = try token() { fields.append(HTTPField("authorization", token)) }
        let answer: ServiceCaller.Answer
        do throws(HTTPError) {
            answer = try services.ask(.get, address, fields: fields, seconds: 5)
        } catch {
            throw CredentialError(
                "\(Self.origin) did not answer: \(error)", advice: "check the service at \(address.origin)",
                isTemporary: error.code != .unusable)
        }
        guard answer.status == 200, let credentials = ServiceDocument.credentials(answer.body, Self.origin)
        else {
            throw CredentialError(
                "\(Self.origin) at \(address.origin) answered \(answer.status) and no credentials",
                advice: "check the role of the pod or task", isTemporary: answer.status >= 500)
        }
        return credentials
    }

    private func address() throws(CredentialError) -> HTTPAddress? {
        if let path = environment["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"] {
            guard path.hasPrefix("/"), let address = HTTPAddress(Self.defaultAddress + path) else {
                throw CredentialError(
                    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI is no path", advice: "it begins with a /")
            }
            return address
        }
        guard let url = environment["AWS_CONTAINER_CREDENTIALS_FULL_URI"] else { return nil }
        guard let address = HTTPAddress(url) else {
            throw CredentialError(
                "AWS_CONTAINER_CREDENTIALS_FULL_URI is no URL",
                advice: "it is like http://169.254.170.23/v1/credentials")
        }
        guard
            address.origin.isSecure || Self.plainHosts.contains(address.origin.host)
                || Self.isLoopback(address.origin.host)
        else {
            throw CredentialError(
                "AWS_CONTAINER_CREDENTIALS_FULL_URI names another machine without TLS, where anybody could listen",
                advice: "use https, or an address of this machine")
        }
        return address
    }

    private static func isLoopback(_ host: String) -> Bool {
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
    }

    private func token() throws(CredentialError) -> String? {
        guard let path = environment["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] else {
            return environment["AWS_CONTAINER_AUTHORIZATION_TOKEN"]
        }
        do throws(Errno) {
            // Read each time: it is rotated.
            guard
                let bytes = try BoundedFile.read(
                    ByteString(path), limit: WebIdentityCredentials.maximumTokenBytes)
            else { throw Errno.fileTooLarge }
            return String(decoding: bytes, as: UTF8.self).filter { !$0.isNewline }
        } catch {
            throw CredentialError(
                "cannot read the token file \(path): \(error)", advice: "check its path, owner and mode")
        }
    }
}
