import Chunking
package import ObjectStore
import Synchronization

/// A footer in memory.
@safe package final class PackFooterImage: @unchecked Sendable {
    // Sendable: the bytes never change.
    package let footer: PackFooter
    private let bytes: UnsafeRawBufferPointer

    init(_ bytes: [UInt8], of pack: PackReference) throws(StoreError) {
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 8)
        unsafe copy.copyBytes(from: bytes)
        do throws(StoreError) {
            footer = try unsafe PackFooter(UnsafeRawBufferPointer(copy), of: pack)
        } catch {
            unsafe copy.deallocate()
            throw error
        }
        unsafe self.bytes = UnsafeRawBufferPointer(copy)
    }

    deinit { unsafe bytes.deallocate() }

    var byteCount: Int { unsafe bytes.count }

    /// Footer and trailer as they are in the pack; valid as long as the image.
    var raw: UnsafeRawBufferPointer { unsafe bytes }
}

extension StoreError {
    /// A pack that a manifest names could not be read.
    init(reading pack: PackReference, _ error: ObjectStoreError) {
        self.init(error)
        object = pack.key.text
    }

    /// The same error of something that a snapshot or the log promised: there a missing object is damage, whereas
    /// "not found" is a name that was mistyped.
    package var ofPromised: StoreError {
        var error = self
        if error.code == .notFound { error.code = .damaged }
        return error
    }
}

/// Footers read from a store, the recently used ones kept. For tools and commit; a node keeps its own.
package final class PackFooters: Sendable {
    package let store: any ObjectStore
    /// Finds the foreign objects of reference packs.
    package let sources: any ObjectSources
    private let kept: Mutex<LeastRecentlyUsed<PackID, PackFooterImage>>

    /// `capacity` in bytes of footers, which are 64 bytes a chunk.
    package init(
        _ store: any ObjectStore, sources: any ObjectSources = NoObjectSources(), capacity: Int = 96 << 20
    ) {
        self.store = store
        self.sources = sources
        kept = Mutex(LeastRecentlyUsed(capacity: capacity))
    }

    package convenience init(_ store: Store, capacity: Int = 96 << 20) {
        self.init(store.objects, sources: store.sources, capacity: capacity)
    }

    package func image(of pack: PackReference) throws(StoreError) -> PackFooterImage {
        // Another reference to the same id must prove itself against the footer, not against a neighbour's luck.
        if let image = kept.withLock({ $0.find(pack.id) }), image.footer.pack == pack { return image }
        let bytes: [UInt8]
        do throws(ObjectStoreError) {
            bytes = try store.read(
                pack.key, from: pack.objectSize - UInt64(pack.footerLength), count: Int(pack.footerLength))
        } catch { throw StoreError(reading: pack, error) }
        let image = try PackFooterImage(bytes, of: pack)
        kept.withLock { $0.keep(image, as: pack.id, cost: image.byteCount) }
        return image
    }

    /// Hands a pack's footer to `body`. It borrows memory that lives during the call; an image's `footer`
    /// lives only as long as somebody holds the image.
    package func with<Value>(
        _ pack: PackReference, _ body: (PackFooter) throws(StoreError) -> Value
    ) throws(StoreError) -> Value {
        let image = try image(of: pack)
        defer { withExtendedLifetime(image) {} }
        return try body(image.footer)
    }

    /// The reference of a pack of which only the name and the size are known, from its trailer and footer.
    /// Nil when the object is no pack of this version.
    package func reference(of id: PackID, objectSize: UInt64) throws(StoreError) -> PackReference? {
        let trailer = UInt64(PackFormat.trailerLength)
        let key = PackFormat.key(of: id)
        guard objectSize > trailer else { return nil }
        do throws(ObjectStoreError) {
            let end = try store.read(key, from: objectSize - trailer, count: Int(trailer))
            let footerLength = unsafe end.withUnsafeBytes { unsafe $0.baseAddress?.u32(32) } ?? 0
            let headerLength = PackFormat.footerHeaderLength
            guard footerLength <= PackFormat.limits.footerLength, UInt64(footerLength) <= objectSize,
                footerLength >= UInt32(headerLength) + UInt32(trailer)
            else { return nil }
            let head = try store.read(key, from: objectSize - UInt64(footerLength), count: headerLength)
            return unsafe end.withUnsafeBytes { end in
                unsafe head.withUnsafeBytes { head -> PackReference? in
                    guard let end = end.baseAddress, let head = head.baseAddress,
                        let layout = unsafe PackLayout(rawValue: UInt32(head.u16(10)))
                    else { return nil }
                    let reference = unsafe PackReference(
                        id: id, footerHash: ContentHash(loading: end), objectSize: objectSize,
                        containerSize: head.u64(24), footerLength: footerLength, chunkCount: head.u32(12),
                        layout: layout)
                    return PackFormat.limits.allow(reference) ? reference : nil
                }
            }
        } catch {
            if error.code == .notFound || error.code == .truncated { return nil }
            throw StoreError(error)
        }
    }
}
