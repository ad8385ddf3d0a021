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
    static func resilient(_ client: any HTTPClient, _ signer: RequestSigner) -> ResilientHTTPClient {
        ResilientHTTPClient(client, prepare: signer.prepare, evaluate: S3Verdict.evaluate)
    }
}
