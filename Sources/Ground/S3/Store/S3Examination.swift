import HTTPExchange
package import ObjectStore
import System

/// What can be said of a bucket and the way to it.
package struct S3Examination: Hashable, Sendable {
    /// Where requests go.
    package var origin: String
    /// Where the credentials came from; nil when requests go out without any.
    package var credentials: String?
    /// What the server's clock is ahead of this machine's, in seconds; nil when its answers tell no time.
    package var clockSkew: Int64?
    package var keepsVersions: Bool
}

extension S3ObjectStore {
    /// Asks the server. Throws when it cannot be reached or does not let these credentials list.
    package func examine() throws(ObjectStoreError) -> S3Examination {
        do throws(S3Failure) {
            let prefix = PercentCoding.encode(place.prefix.bytes)
            let head = try bucket.service.send(
                bucket.bucketRequest(.get, query: "list-type=2&max-keys=1&prefix=\(prefix)"))
            let server = head["date"].flatMap(CivilTime.parseHTTP)?.secondsSinceEpoch
            return S3Examination(
                origin: place.origin.description, credentials: try bucket.service.credentialOrigin(),
                clockSkew: server.map { $0 - clock.now().seconds }, keepsVersions: try bucket.keepsVersions())
        } catch {
            throw error.error(.open, "", place)
        }
    }
}

extension S3Service {
    /// Where the credentials of the moment came from; nil for none.
    func credentialOrigin() throws(S3Failure) -> String? {
        guard let credentials else { return nil }
        do throws(CredentialError) { return try credentials.current().origin } catch {
            throw .credentials(error)
        }
    }
}
