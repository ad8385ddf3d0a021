package import ObjectStore
package import System

/// Objects in somebody's bucket.
package final class S3ObjectSource: ObjectSource {
    package let location: String

    package init(_ at: S3Location, _ service: S3Service) { location = at.description }

    package func list(_ body: (SourceObject) throws(ObjectStoreError) -> Bool) throws(ObjectStoreError) {
        throw ObjectStoreError(.notSupported, .list, key: "", location: location)
    }

    package func read(
        _ key: ByteString, _ version: ObjectVersion, _ range: Range<UInt64>,
        _ body: (UnsafeRawBufferPointer) throws(ObjectStoreError) -> Bool
    ) throws(ObjectStoreError) { throw ObjectStoreError(.notSupported, .read, key: "", location: location) }
}
