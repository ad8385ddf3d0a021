package import Chunking
package import ObjectStore
package import System

/// A dataset store that is open: the parts of it, checked to be of a format that this program knows.
package struct Store: Sendable {
    package let objects: any ObjectStore
    package let configuration: StoreConfiguration
    package let manifests: ManifestObjects
    package let log: RecordLog
    /// Finds the foreign objects that reference packs name.
    package let sources: any ObjectSources

    package static let configurationKey = ObjectKey(trusted: "store.json")

    private init(_ objects: any ObjectStore, _ configuration: StoreConfiguration, _ environment: Environment)
    {
        if configuration.isSingleWriter { objects.useSingleWriterMode() }
        self.objects = objects
        self.configuration = configuration
        manifests = ManifestObjects(store: objects)
        sources = environment.sources
        log = RecordLog(
            objects, author: environment.author, clock: environment.clock, random: environment.random)
    }

    /// What a store takes from its surroundings.
    package struct Environment: Sendable {
        /// `user@host`, written into the log for people.
        package var author: String
        package var clock: any Clock
        package var random: any RandomSource
        /// For the bytes of imported files.
        package var sources: any ObjectSources

        package init(
            author: String = "", clock: any Clock = HostClock(), random: any RandomSource = HostRandom(),
            sources: any ObjectSources = NoObjectSources()
        ) {
            self.author = author
            self.clock = clock
            self.random = random
            self.sources = sources
        }
    }

    /// Makes a store in a place that has none. Throws `.conflict` where there is one already. `isSingleWriter`: the
    /// place was found to have no conditional writes.
    package static func create(
        at objects: any ObjectStore, chunking: ChunkingParameters = .standard, isSingleWriter: Bool = false,
        _ environment: Environment = .init()
    ) throws(StoreError) -> Store {
        let configuration = StoreConfiguration(
            random: environment.random, chunking: chunking, isSingleWriter: isSingleWriter)
        let bytes = try configuration.encoded()
        if isSingleWriter { objects.useSingleWriterMode() }
        do throws(ObjectStoreError) {
            guard try objects.createIfAbsent(configurationKey, bytes) == .created else {
                throw ObjectStoreError(
                    .alreadyExists, .create, key: configurationKey.text, location: objects.location)
            }
        } catch {
            if error.code == .alreadyExists {
                throw StoreError(
                    .conflict, "there is a store at \(objects.location) already",
                    remedy: "Use it, or give another place")
            }
            throw StoreError(error)
        }
        return Store(objects, configuration, environment)
    }

    /// Opens a store. Reads nothing but `store.json`: `.notFound` where there is none, `.unsupported` for one
    /// that needs a newer program.
    package static func open(
        _ objects: any ObjectStore, _ environment: Environment = .init()
    ) throws(StoreError) -> Store {
        let bytes: [UInt8]
        do throws(ObjectStoreError) {
            bytes = try objects.readAll(configurationKey, limit: StoreConfiguration.maximumBytes)
        } catch {
            // With advice of its own it is the bucket that is missing.
            guard error.code == .notFound, error.advice == nil else { throw StoreError(error) }
            throw StoreError(
                .notFound, "there is no store at \(objects.location)", object: configurationKey.text,
                remedy: "Make one with `kaml store init --store '\(objects.location)'`")
        }
        let configuration = try StoreConfiguration(decoding: bytes, key: configurationKey.text)
        return Store(objects, configuration, environment)
    }

    /// The log's state now.
    package func state() throws(StoreError) -> LogState {
        do throws(RecordLogError) { return try log.replay() } catch { throw StoreError(error) }
    }

    /// The snapshot that a reference names.
    package func resolve(_ reference: SnapshotReference) throws(StoreError) -> ResolvedSnapshot {
        let state = try state()
        do throws(SnapshotReferenceError) { return try reference.resolve(in: state) } catch {
            throw StoreError(error)
        }
    }

    package func snapshot(_ reference: SnapshotReference) throws(StoreError) -> Snapshot {
        let resolved = try resolve(reference)
        do throws(StoreError) { return try snapshot(resolved.snapshot) } catch {
            throw error.at(dataset: resolved.dataset.text)
        }
    }

    package func snapshot(_ id: ContentHash) throws(StoreError) -> Snapshot {
        try Snapshot(id, from: StoreManifestSource(objects: manifests))
    }
}
