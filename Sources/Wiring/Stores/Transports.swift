import HTTPExchange
import S3
import System
import Transport

/// The HTTP client of this process.
enum Transports {
    static func client(
        _ settings: StoreSettings, _ environment: S3Environment
    ) throws(StoreOpeningError) -> any HTTPClient {
        var options = TransportOptions()
        options.caFile = settings.caFile ?? environment["KAML_CA_FILE"] ?? environment["AWS_CA_BUNDLE"]
        if let proxy = settings.proxy {
            guard let proxy = proxy.revealed(TransportOptions.Proxy.init(checking:)) else { throw .proxy }
            options.proxy = proxy
        }
        return CurlHTTPClient(options)
    }

    /// With patience for bad networks. Each attempt is signed anew.
    static func resilient(
        _ client: any HTTPClient, _ signer: RequestSigner, _ policy: ResiliencePolicy
    ) -> ResilientHTTPClient {
        ResilientHTTPClient(client, policy: policy, prepare: signer.prepare, evaluate: S3Verdict.evaluate)
    }

    /// - Throws: for a `KAML_S3_PATIENCE` that is no number of seconds.
    static func policy(
        _ settings: StoreSettings, _ environment: S3Environment
    ) throws(StoreOpeningError) -> ResiliencePolicy {
        var policy = ResiliencePolicy()
        var seconds = settings.patience
        if seconds == nil, let text = environment["KAML_S3_PATIENCE"], !text.isEmpty {
            guard let number = Int(text), StoreSettings.patienceRange.contains(number) else {
                throw .setting(name: "KAML_S3_PATIENCE", "give a whole number of seconds, 1 to 3600")
            }
            seconds = number
        }
        if let seconds {
            policy.patience = UInt64(seconds) * 1_000_000_000
            policy.firstPatience = min(policy.firstPatience, policy.patience)
        }
        return policy
    }
}
