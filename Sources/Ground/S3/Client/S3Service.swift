package import HTTPExchange
import System

/// What the buckets of one endpoint and region share: the client and the credentials.
package final class S3Service: Sendable {
    let client: any HTTPClient

    package init(
        _ client: any HTTPClient, region: String, settings: S3Settings, environment: S3Environment
    ) {
        self.client = client
    }
}
