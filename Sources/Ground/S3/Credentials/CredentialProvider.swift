/// One way to come by credentials.
package protocol CredentialProvider: Sendable {
    /// New ones. Nil when this way is not set up here; throws when it is, and fails.
    func credentials() throws(CredentialError) -> S3Credentials?
}

/// The first way that is set up.
struct CredentialChain: CredentialProvider {
    var providers: [any CredentialProvider]

    func credentials() throws(CredentialError) -> S3Credentials? {
        for provider in providers {
            if let credentials = try provider.credentials() { return credentials }
        }
        return nil
    }
}

extension CredentialChain {
    /// The ways of the AWS tools, in their order. A profile that was named on the command line is the only one.
    static func standard(
        _ settings: S3Settings, _ environment: S3Environment, _ services: ServiceCaller, region: String
    ) -> CredentialChain {
        let files = SharedFileCredentials(
            environment: environment, services: services, profile: settings.profile, region: region)
        if settings.profile != nil { return CredentialChain(providers: [files]) }
        return CredentialChain(providers: [
            EnvironmentCredentials(environment: environment),
            WebIdentityCredentials(environment: environment, services: services, region: region),
            files,
            ContainerCredentials(environment: environment, services: services),
            InstanceCredentials(environment: environment, services: services),
        ])
    }
}

/// AWS_ACCESS_KEY_ID and its companions.
struct EnvironmentCredentials: CredentialProvider {
    var environment: S3Environment

    func credentials() throws(CredentialError) -> S3Credentials? {
        guard let accessKey = environment["AWS_ACCESS_KEY_ID"] else { return nil }
        guard let secretKey = environment["AWS_SECRET_ACCESS_KEY"] else {
            throw CredentialError(
                "AWS_ACCESS_KEY_ID is set, AWS_SECRET_ACCESS_KEY is not", advice: "set both or none of them")
        }
        return S3Credentials(
            accessKey: accessKey, secretKey: secretKey, sessionToken: environment["AWS_SESSION_TOKEN"],
            origin: "the environment")
    }
}

/// A profile of the shared files.
struct SharedFileCredentials: CredentialProvider {
    var environment: S3Environment
    var services: ServiceCaller
    var profile: String?
    var region: String

    func credentials() throws(CredentialError) -> S3Credentials? {
        let configuration = try SharedConfiguration(environment, profile: profile)
        let name = "profile \"\(configuration.profile)\""
        let place = "\(name) in \(configuration.files.joined(separator: " and "))"
        if let accessKey = configuration["aws_access_key_id"] {
            guard let secretKey = configuration["aws_secret_access_key"] else {
                throw CredentialError("\(place) has an access key without a secret key", advice: "add it")
            }
            return S3Credentials(
                accessKey: accessKey, secretKey: secretKey,
                sessionToken: configuration["aws_session_token"], origin: place)
        }
        if let role = configuration["role_arn"], let file = configuration["web_identity_token_file"] {
            return try WebIdentityCredentials(environment: environment, services: services, region: region)
                .assume(role, tokenFile: file, session: configuration["role_session_name"], place)
        }
        for key in ["role_arn", "source_profile", "credential_process", "sso_session", "sso_start_url"]
        where configuration[key] != nil {
            throw CredentialError(
                "\(place) wants credentials through \(key), which kaml does not do",
                advice:
                    "get them with `aws configure export-credentials --format env` and run kaml with these variables"
            )
        }
        // Only somebody who named it expects credentials in it.
        guard profile == nil, environment["AWS_PROFILE"] == nil else {
            throw CredentialError("\(place) has no credentials", advice: "add aws_access_key_id to it")
        }
        return nil
    }
}
