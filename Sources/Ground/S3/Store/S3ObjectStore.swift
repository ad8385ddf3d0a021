package import ObjectStore
import System

/// A store in a bucket.
package final class S3ObjectStore: ObjectStore {
    package let at: S3Location
    package let location: String

    package init(_ at: S3Location, _ service: S3Service) {
        self.at = at
        location = at.description
    }

    private func later(_ operation: ObjectStoreError.Operation) -> ObjectStoreError {
        ObjectStoreError(.notSupported, operation, key: "", location: location)
    }

    package func size(of key: ObjectKey) throws(ObjectStoreError) -> UInt64? { throw later(.size) }
    package func read(
        _ key: ObjectKey, from offset: UInt64, into buffer: UnsafeMutableRawBufferPointer
    ) throws(ObjectStoreError) { throw later(.read) }
    package func readAll(_ key: ObjectKey, limit: Int) throws(ObjectStoreError) -> [UInt8] {
        throw later(.read)
    }
    package func createIfAbsent(
        _ key: ObjectKey, _ bytes: UnsafeRawBufferPointer
    ) throws(ObjectStoreError) -> CreateOutcome { throw later(.create) }
    package func makeWriter(_ key: ObjectKey) throws(ObjectStoreError) -> any ObjectWriter {
        throw later(.write)
    }
    package func list(
        _ prefix: String, after: String?, _ body: (ObjectInfo) throws(ObjectStoreError) -> Bool
    ) throws(ObjectStoreError) { throw later(.list) }
    package func delete(_ key: ObjectKey) throws(ObjectStoreError) { throw later(.delete) }
}
