import HTTPExchange
import S3
import System
import Transport

/// The HTTP client of this process.
enum Transports {
    static func client(
        _ settings: StoreSettings, _ environment: S3Environment
    ) -> any HTTPClient {
        var options = TransportOptions()
        options.caFile = settings.caFile ?? environment["KAML_CA_FILE"] ?? environment["AWS_CA_BUNDLE"]
        if let proxy = settings.proxy { options.proxy = .url(proxy) }
        return CurlHTTPClient(options)
    }

    /// With patience for bad networks. Each attempt is signed anew.
    static func resilient(_ client: any HTTPClient, _ signer: RequestSigner) -> any HTTPClient {
        ResilientHTTPClient(client, prepare: signer.prepare, evaluate: S3Verdict.evaluate)
    }
}
