package import DatasetStore
package import HTTPExchange
package import ObjectStore
package import S3
import Stores
import Synchronization
import System

/// The stores that an agent reads, opened when they are first needed: those of its configuration by name, others by URL.
package final class StoreDirectory: Sendable {
    private let stores: [String: NamedStore]
    private let defaultStore: String?
    private let environment: S3Environment
    private let state = Mutex(State())

    private struct State {
        var openers: [OpenerKey: StoreOpener] = [:]
        var open: [NamedStore: Store] = [:]
        var reached: [NamedStore: any ObjectStore] = [:]
        /// By the location of the store whose manifests name sources.
        var sources: [String: any ObjectSources] = [:]
    }

    /// Stores that are reached the same way share connections and credentials.
    private struct OpenerKey: Hashable {
        var settings: StoreSettings
        var credentialsFile: ByteString?
    }

    package init(
        _ stores: [String: NamedStore], default defaultStore: String?, environment: S3Environment = .process
    ) {
        self.stores = stores
        self.defaultStore = defaultStore ?? (stores.count == 1 ? stores.keys.first : nil)
        self.environment = environment
    }

    /// What a client means by a name, a URL, or nothing.
    package func place(_ text: String) throws(AgentError) -> NamedStore {
        if text.isEmpty {
            guard let defaultStore, let store = stores[defaultStore] else { throw .noStore }
            return store
        }
        if let store = stores[text] { return store }
        guard text.hasPrefix("/") || text.contains("://") else {
            throw .unknownStore("\(ByteString(text))", known: stores.keys.sorted())
        }
        // A store of the configuration keeps its settings, also when it is meant by its URL.
        if let store = stores.sorted(by: { $0.key < $1.key }).first(where: { $0.value.url == text })?.value {
            return store
        }
        var store = NamedStore()
        do throws(ValueError) { store.url = try ValueForm<String>.storeURL.parse(text) } catch {
            throw .invalid(error.message, hint: "give file:///path or s3://bucket/prefix")
        }
        return store
    }

    /// Blocks, while it is opened for the first time.
    ///
    /// - Throws: `StoreError`, `StoreOpeningError` or `ObjectStoreURLError`.
    package func open(_ place: NamedStore) throws -> Store {
        if let store = state.withLock({ $0.open[place] }) { return store }
        let (objects, sources) = try reach(place)
        let store = try Store.open(objects, .init(author: "kamld", sources: sources))
        return state.withLock { state in
            if let store = state.open[place] { return store }
            state.open[place] = store
            return store
        }
    }

    /// A store's objects, for who knows already that there is a store: it may be away now.
    ///
    /// - Throws: `StoreOpeningError` or `ObjectStoreURLError`.
    package func objects(_ place: NamedStore) throws -> any ObjectStore {
        if let store = state.withLock({ $0.open[place] }) { return store.objects }
        if let objects = state.withLock({ $0.reached[place] }) { return objects }
        return try reach(place).objects
    }

    private func reach(
        _ place: NamedStore
    ) throws -> (objects: any ObjectStore, sources: any ObjectSources) {
        let url = try ObjectStoreURL(place.url, workingDirectory: "/")
        let opener = opener(for: place)
        let objects = try opener.open(url)
        let sources = try opener.sources(for: url)
        state.withLock { state in
            state.reached[place] = objects
            state.sources[objects.location] = sources
        }
        return (objects, sources)
    }

    /// What all stores in buckets have done so far.
    package var traffic: ResilienceStatistics {
        let openers = state.withLock { Array($0.openers.values) }
        return openers.reduce(into: ResilienceStatistics()) { $0 += $1.statistics }
    }

    private func opener(for place: NamedStore) -> StoreOpener {
        let settings = StoreSettings(
            s3: S3Settings(
                endpoint: place.endpoint, region: place.region,
                style: place.style.flatMap(S3Location.Style.init(rawValue:)), profile: place.profile),
            caFile: place.caFile.map { "\($0)" }, patience: place.patienceSeconds)
        let key = OpenerKey(settings: settings, credentialsFile: place.credentialsFile)
        return state.withLock { state in
            if let opener = state.openers[key] { return opener }
            let opener = StoreOpener(settings, environment: environment.with(place.credentialsFile))
            state.openers[key] = opener
            return opener
        }
    }
}

extension StoreDirectory: ObjectSources {
    package func source(_ location: String) throws(ObjectStoreError) -> any ObjectSource {
        throw ObjectStoreError(
            .permissionDenied, .open, key: "", location: location,
            detail: "it is not known which store's snapshot names it")
    }

    package func source(
        _ location: String, namedIn store: any ObjectStore
    ) throws(ObjectStoreError) -> any ObjectSource {
        guard let sources = state.withLock({ $0.sources[store.location] }) else {
            return try source(location)
        }
        return try sources.source(location)
    }
}

extension S3Environment {
    /// This one, but with the credentials of a file, which go before all others.
    fileprivate func with(_ credentialsFile: ByteString?) -> S3Environment {
        guard let credentialsFile else { return self }
        let file = String(decoding: credentialsFile.bytes, as: UTF8.self)
        return S3Environment(
            variables: { [variables] name in
                switch name {
                case "AWS_SHARED_CREDENTIALS_FILE": file
                case "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN": nil
                default: variables(name)
                }
            }, clock: clock)
    }
}
