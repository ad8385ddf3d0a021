package import DatasetStore
package import ObjectStore

extension ReferencePackBuilder {
    /// Makes the pack durable in a store.
    package func publish(in store: any ObjectStore) throws -> PackReference {
        let (bytes, pack) = try finish()
        _ = try store.createIfAbsent(pack.key, bytes)
        return pack
    }
}
