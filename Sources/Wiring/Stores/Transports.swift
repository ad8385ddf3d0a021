import HTTPExchange
import S3

/// The HTTP client of this process.
enum Transports {
    static func client(
        _ settings: StoreSettings, _ environment: S3Environment
    ) throws(StoreOpeningError) -> any HTTPClient {
        throw .transport(
            HTTPError(
                .unusable, HTTPOrigin(isSecure: true, host: ""),
                "this build has no HTTP client; use a directory"))
    }
}
