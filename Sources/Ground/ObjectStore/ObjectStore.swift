package import System

/// What a listing tells about an object.
package struct ObjectInfo: Hashable, Sendable {
    package var key: ObjectKey
    /// Bytes.
    package var size: UInt64
    /// When the store took it, by the store's clock: for people and for ages of days, never for order.
    package var modified: Timestamp

    package init(key: ObjectKey, size: UInt64, modified: Timestamp) {
        self.key = key
        self.size = size
        self.modified = modified
    }
}

/// How a create-if-absent ended.
package enum CreateOutcome: Hashable, Sendable {
    case created
    /// The key was taken; what stands there was left as it is.
    case exists
}

/// Immutable objects under keys: the whole of what a dataset store asks of a directory or a bucket.
///
/// Every call blocks its thread until it is done, by decision: the read path must have no async hop, so the
/// callers are dedicated threads, and a store whose client is asynchronous bridges inside. Calls may come
/// from many threads at once. A failed call leaves the store usable: the next one starts afresh.
package protocol ObjectStore: Sendable {
    /// The store's URL for messages, without secrets.
    var location: String { get }

    /// The object's bytes, nil when it does not exist.
    func size(of key: ObjectKey) throws(ObjectStoreError) -> UInt64?

    /// Fills `buffer` from the object's byte `offset` on. Throws `truncated` when the object ends before that.
    func read(
        _ key: ObjectKey, from offset: UInt64, into buffer: UnsafeMutableRawBufferPointer
    ) throws(ObjectStoreError)

    /// Hands the bytes `range` of the object to `body`, in order, as they come: in pieces of any size, each valid for the
    /// call, until it returns false. Bytes may be handed over before a failure is known. Throws `truncated` when the
    /// object ends before the range does.
    func read(
        _ key: ObjectKey, _ range: Range<UInt64>,
        _ body: (UnsafeRawBufferPointer) throws(ObjectStoreError) -> Bool
    ) throws(ObjectStoreError)

    /// The whole object. Throws `tooLarge` before reading when it has more than `limit` bytes.
    func readAll(_ key: ObjectKey, limit: Int) throws(ObjectStoreError) -> [UInt8]

    /// Stores `bytes` unless the key is taken. Durable when it returns, also for `exists`. Of many callers at
    /// once exactly one gets `created`. After an `unavailable` the outcome is open; read it back to know.
    func createIfAbsent(
        _ key: ObjectKey, _ bytes: UnsafeRawBufferPointer
    ) throws(ObjectStoreError) -> CreateOutcome

    /// Makes an object durable that was found, not written: whoever wrote it may have died before it was. To be
    /// called before anything is acknowledged that leans on it.
    func makeDurable(_ key: ObjectKey) throws(ObjectStoreError)

    /// Starts an object that is written in pieces and appears whole, with `publish`, or never.
    func makeWriter(_ key: ObjectKey) throws(ObjectStoreError) -> any ObjectWriter

    /// Calls `body` for each object whose key starts with `prefix` and is greater than `after`, in key order,
    /// until it returns false. `prefix` is any string, as in S3, not only a folder. Objects that come or go
    /// meanwhile may be told or not.
    func list(
        _ prefix: String, after: String?, _ body: (ObjectInfo) throws(ObjectStoreError) -> Bool
    ) throws(ObjectStoreError)

    /// From now on creates look whether a key is taken and then write, as the store's configuration says: for servers that
    /// have no conditional writes. Two writers at once are then not safe. Stores that need no such thing do nothing.
    func useSingleWriterMode()

    /// Removes an object; none there is no error.
    func delete(_ key: ObjectKey) throws(ObjectStoreError)
}

extension ObjectStore {
    /// Right for stores in which what can be seen is durable, such as S3.
    package func makeDurable(_ key: ObjectKey) throws(ObjectStoreError) {}

    package func useSingleWriterMode() {}

    package func createIfAbsent(
        _ key: ObjectKey, _ bytes: [UInt8]
    ) throws(ObjectStoreError) -> CreateOutcome {
        // withUnsafeBytes has no typed throws for arrays, so the result crosses as a value.
        let outcome = unsafe bytes.withUnsafeBytes { bytes in
            Result { () throws(ObjectStoreError) in try unsafe createIfAbsent(key, bytes) }
        }
        return try outcome.get()
    }

    /// Right for stores that read from memory or a disk: pieces of at most 1 MiB.
    package func read(
        _ key: ObjectKey, _ range: Range<UInt64>,
        _ body: (UnsafeRawBufferPointer) throws(ObjectStoreError) -> Bool
    ) throws(ObjectStoreError) {
        let buffer = UnsafeMutableRawBufferPointer.allocate(
            byteCount: min(1 << 20, range.count), alignment: 4096)
        defer { unsafe buffer.deallocate() }
        var offset = range.lowerBound
        while offset < range.upperBound {
            let piece = unsafe UnsafeMutableRawBufferPointer(
                rebasing: buffer.prefix(Int(min(UInt64(buffer.count), range.upperBound - offset))))
            try unsafe read(key, from: offset, into: piece)
            offset += UInt64(piece.count)
            guard try unsafe body(UnsafeRawBufferPointer(piece)) else { return }
        }
    }

    package func read(
        _ key: ObjectKey, from offset: UInt64, count: Int
    ) throws(ObjectStoreError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        let outcome = unsafe bytes.withUnsafeMutableBytes { buffer in
            Result { () throws(ObjectStoreError) in try unsafe read(key, from: offset, into: buffer) }
        }
        try outcome.get()
        return bytes
    }

    /// All objects under a prefix, for small listings.
    package func list(_ prefix: String) throws(ObjectStoreError) -> [ObjectInfo] {
        var infos: [ObjectInfo] = []
        try list(prefix, after: nil) { info throws(ObjectStoreError) in
            infos.append(info)
            return true
        }
        return infos
    }
}

/// One object on its way into a store. Nobody can see it before `publish`; dropping it removes every trace.
///
/// May move between threads but is used by one at a time.
package protocol ObjectWriter: AnyObject, Sendable {
    /// Bytes appended so far.
    var bytesWritten: UInt64 { get }

    /// Adds bytes at the end. After an error only `abandon` makes sense.
    func append(_ bytes: UnsafeRawBufferPointer) throws(ObjectStoreError)

    /// Makes the object durable and visible under its key, unless the key is taken. The writer is then spent.
    func publish() throws(ObjectStoreError) -> CreateOutcome

    /// Throws the bytes away. Does nothing after `publish`.
    func abandon()
}

extension ObjectWriter {
    package func append(_ bytes: [UInt8]) throws(ObjectStoreError) {
        let outcome = unsafe bytes.withUnsafeBytes { bytes in
            Result { () throws(ObjectStoreError) in try unsafe append(bytes) }
        }
        try outcome.get()
    }
}
