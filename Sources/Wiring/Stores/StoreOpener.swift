import Glibc
package import HTTPExchange
package import ObjectStore
package import S3
import Synchronization
import System

/// Opens stores and sources by their URLs. One for a process: its stores share connections and credentials.
package final class StoreOpener: Sendable {
    private let settings: StoreSettings
    private let environment: S3Environment
    private let services: Mutex<Services>

    /// What is made once and shared.
    private struct Services {
        var client: (any HTTPClient)?
        var byKey: [ServiceKey: S3Service] = [:]
        var resilient: [ResilientHTTPClient] = []
    }

    /// Buckets of one endpoint and region share credentials and limits.
    private struct ServiceKey: Hashable {
        var endpoint: HTTPOrigin?
        var region: String
    }

    /// Does no I/O. `client`: instead of the real one, for tests.
    package init(
        _ settings: StoreSettings = StoreSettings(), environment: S3Environment = .process,
        client: (any HTTPClient)? = nil
    ) {
        self.settings = settings
        self.environment = environment
        services = Mutex(Services(client: client))
    }

    /// A store at this place. Does no I/O but reading the shared config file.
    package func open(_ url: ObjectStoreURL) throws(StoreOpeningError) -> any ObjectStore {
        switch url {
        case .directory(let path): return FileObjectStore(path)
        case .bucket(let text):
            let location = try location(text)
            return S3ObjectStore(location, try service(for: location))
        }
    }

    /// A source that a user named. One named by a snapshot goes through `sources(for:)`.
    package func openSource(_ url: ObjectStoreURL) throws(StoreOpeningError) -> any ObjectSource {
        switch url {
        case .directory(let path): return FileObjectSource(path)
        case .bucket(let text): return try openSource(at: try location(text))
        }
    }

    /// The sources that snapshots of this store may name.
    package func sources(for store: ObjectStoreURL) throws(StoreOpeningError) -> any ObjectSources {
        var endpoint: HTTPOrigin?
        if case .bucket(let text) = store { endpoint = try location(text).endpoint }
        let rule = SourceRule(
            store: store, storeEndpoint: endpoint, userID: geteuid(),
            listed: environment[SourceRule.variable], settings: settings.s3.completed(from: environment))
        return CheckedSources(self, rule)
    }

    /// The bucket that a URL names, with what the settings add.
    package func location(_ text: String) throws(StoreOpeningError) -> S3Location {
        do throws(ObjectStoreURLError) {
            return try S3Location(text, settings.s3.completed(from: environment))
        } catch { throw .url(error) }
    }

    /// What all its stores and sources in buckets have done so far.
    package var statistics: ResilienceStatistics {
        services.withLock { services in
            services.resilient.reduce(into: ResilienceStatistics()) { $0 += $1.statistics }
        }
    }

    func openSource(at location: S3Location) throws(StoreOpeningError) -> any ObjectSource {
        S3ObjectSource(location, try service(for: location))
    }

    private func service(for location: S3Location) throws(StoreOpeningError) -> S3Service {
        let key = ServiceKey(endpoint: location.endpoint, region: location.region)
        return try services.withLock { services throws(StoreOpeningError) in
            if let known = services.byKey[key] { return known }
            let client: any HTTPClient
            if let made = services.client {
                client = made
            } else {
                client = try Transports.client(settings, environment)
                services.client = client
            }
            let policy = try Transports.policy(settings, environment)
            let service = S3Service(
                client, region: location.region, settings: settings.s3.completed(from: environment),
                environment: environment,
                wrap: { client, signer in
                    let resilient = Transports.resilient(client, signer, policy)
                    services.resilient.append(resilient)
                    return resilient
                })
            services.byKey[key] = service
            return service
        }
    }
}
