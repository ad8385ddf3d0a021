package import ObjectStore
import Synchronization
package import System

/// Somebody's bucket in memory: objects that change under an import, old versions, and faults on demand.
package final class MemoryObjectSource: ObjectSource {
    private struct Object {
        var bytes: [UInt8]
        var modified: Timestamp
        var version: ObjectVersion
    }

    private struct State {
        /// The newest last.
        var objects: [ByteString: [Object]] = [:]
        var nextVersion: UInt64 = 1
        var reads: [(key: ByteString, range: Range<UInt64>)] = []
        var listings = 0
        var failingReads: [ObjectStoreError.Code] = []
    }

    package let location: String
    /// Whether old versions can still be read, as in a bucket with versioning.
    private let keepsVersions: Bool
    /// Bytes of a piece.
    private let pieceLength: Int
    private let state = Mutex(State())

    package init(
        location: String = "memory://bucket/", keepsVersions: Bool = false, pieceLength: Int = 60_000
    ) {
        self.location = location
        self.keepsVersions = keepsVersions
        self.pieceLength = pieceLength
    }

    package func put(
        _ key: ByteString, _ bytes: [UInt8],
        modified: Timestamp = Timestamp(seconds: 1_700_000_000, nanoseconds: 0)
    ) {
        state.withLock { state in
            let number = state.nextVersion
            state.nextVersion += 1
            let version = ObjectVersion(tag: "tag-\(number)", id: keepsVersions ? "version-\(number)" : nil)
            let object = Object(bytes: bytes, modified: modified, version: version)
            state.objects[key, default: []].append(object)
        }
    }

    package func delete(_ key: ByteString) { state.withLock { $0.objects[key] = nil } }

    /// The next reads fail so, one after the other.
    package func failReads(_ codes: [ObjectStoreError.Code]) {
        state.withLock { $0.failingReads = codes }
    }

    /// The reads so far, in order.
    package var reads: [(key: ByteString, range: Range<UInt64>)] { state.withLock { $0.reads } }
    package var listings: Int { state.withLock { $0.listings } }

    package func list(_ body: (SourceObject) throws(ObjectStoreError) -> Bool) throws(ObjectStoreError) {
        let listed = state.withLock { state in
            state.listings += 1
            return state.objects.compactMap { key, versions in
                versions.last.map {
                    SourceObject(
                        key: key, size: UInt64($0.bytes.count), modified: $0.modified, version: $0.version)
                }
            }
        }
        for object in listed.sorted(by: { $0.key < $1.key }) where try !body(object) { return }
    }

    package func read(
        _ key: ByteString, _ version: ObjectVersion, _ range: Range<UInt64>,
        _ body: (UnsafeRawBufferPointer) throws(ObjectStoreError) -> Bool
    ) throws(ObjectStoreError) {
        func failure(_ code: ObjectStoreError.Code) -> ObjectStoreError {
            ObjectStoreError(code, .read, key: key.description, location: location)
        }
        let (found, fault) = state.withLock { state -> ([Object], ObjectStoreError.Code?) in
            state.reads.append((key, range))
            let fault = state.failingReads.isEmpty ? nil : state.failingReads.removeFirst()
            return (state.objects[key] ?? [], fault)
        }
        if let fault { throw failure(fault) }
        guard let newest = found.last else { throw failure(.notFound) }
        let object = keepsVersions ? found.last { $0.version.id == version.id } : newest
        guard let object, object.version == version else { throw failure(.changed) }
        guard range.upperBound <= UInt64(object.bytes.count) else { throw failure(.truncated) }
        var start = Int(range.lowerBound)
        while start < Int(range.upperBound) {
            let end = min(start + pieceLength, Int(range.upperBound))
            let goesOn = object.bytes[start..<end].withUnsafeBytes { bytes in
                Result { () throws(ObjectStoreError) in try body(bytes) }
            }
            guard try goesOn.get() else { return }
            start = end
        }
    }
}

/// Sources by their location.
package struct KnownSources: ObjectSources {
    private let sources: [any ObjectSource]

    package init(_ sources: any ObjectSource...) { self.sources = sources }

    package func source(_ location: String) throws(ObjectStoreError) -> any ObjectSource {
        guard let source = sources.first(where: { $0.location == location }) else {
            throw ObjectStoreError(.permissionDenied, .open, key: "", location: location)
        }
        return source
    }
}
