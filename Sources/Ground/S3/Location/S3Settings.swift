package import System

/// What a process is told about S3 beside the URL of a bucket, in the order in which it counts: the command line, the
/// environment, the profile in the shared config file.
package struct S3Settings: Hashable, Sendable {
    /// As typed: `https://host:port`. Nil for AWS.
    package var endpoint: String?
    /// What said so, to be named when it is none: a variable, or the shared config file.
    package private(set) var endpointSource = "--endpoint"
    package var region: String?
    package var style: S3Location.Style?
    /// The profile that the command line names; it makes the shared files the only source of credentials.
    package var profile: String?
    package var isAnonymous = false

    package init(
        endpoint: String? = nil, region: String? = nil, style: S3Location.Style? = nil,
        profile: String? = nil,
        isAnonymous: Bool = false
    ) {
        self.endpoint = endpoint
        self.region = region
        self.style = style
        self.profile = profile
        self.isAnonymous = isAnonymous
    }

    /// These, and what they do not say from the environment and from the shared config file. A config file that cannot
    /// be read says nothing here: the credentials, which need it too, tell why.
    package func completed(from environment: S3Environment) -> S3Settings {
        var settings = self
        let config = try? SharedConfiguration(environment, profile: profile)
        if endpoint == nil {
            let variable = ["KAML_S3_ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]
                .first { environment[$0] != nil }
            settings.endpoint = variable.flatMap { environment[$0] } ?? config?["endpoint_url"]
            settings.endpointSource = variable ?? "endpoint_url in the shared config file"
        }
        settings.region =
            region ?? environment["AWS_REGION"] ?? environment["AWS_DEFAULT_REGION"] ?? config?["region"]
        settings.isAnonymous = isAnonymous || environment["KAML_S3_ANONYMOUS"] == "1"
        return settings
    }
}

/// The surroundings that settings and credentials are taken from: a seam for tests.
package struct S3Environment: Sendable {
    package var variables: @Sendable (String) -> String?
    package var clock: any Clock

    package init(variables: @escaping @Sendable (String) -> String?, clock: any Clock = HostClock()) {
        self.variables = variables
        self.clock = clock
    }

    /// Nil also for an empty variable, as in the AWS tools.
    package subscript(_ name: String) -> String? {
        guard let value = variables(name), !value.isEmpty else { return nil }
        return value
    }
}
