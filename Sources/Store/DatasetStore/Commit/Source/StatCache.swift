import Chunking
import Glibc
import System

/// What a snapshot's files said of themselves when they were read: change time, inode and device, by ordinal.
///
/// A file of this machine beside the store, only ever a hint: bound to one snapshot, verified by a hash, and
/// ignored when anything is off. Layout: header 96 (magic 8, version u32, zero u32, snapshot 32, key 32, count
/// u64, zero u64), then 32 bytes an entry (seconds i64, nanoseconds u32, zero u32, inode u64, device u64), then
/// SHA-256 (tag `file`) over all before.
struct StatCache: ~Copyable {
    /// Of an entry that must be read next time whatever it says.
    static let untrusted = UInt32.max

    private static let magic: StaticString = "KAMLSTAT"
    private static let version: UInt32 = 1
    private static let headerLength = 96
    private static let entryLength = 32

    private let region: MappedRegion
    private let count: Int

    /// Nil when there is no usable cache for this snapshot.
    static func load(_ path: ByteString, snapshot: ContentHash, key: ContentHash) -> StatCache? {
        do throws(Errno) {
            let file = try FileDescriptor.open(path, O_RDONLY)
            let size = try file.status().size
            guard let length = Int(exactly: size), length >= headerLength + ContentHash.byteCount else {
                return nil
            }
            let region = try MappedRegion(file, length: length)
            guard let count = unsafe validCount(region.bytes, snapshot, key) else { return nil }
            return StatCache(region, count)
        } catch { return nil }
    }

    private init(_ region: consuming MappedRegion, _ count: Int) {
        self.region = region
        self.count = count
    }

    private static func validCount(
        _ bytes: UnsafeRawBufferPointer, _ snapshot: ContentHash, _ key: ContentHash
    ) -> Int? {
        guard let base = bytes.baseAddress, unsafe bytes.startsWith(magic), unsafe base.u32(8) == version,
            unsafe ContentHash(loading: base + 16) == snapshot, unsafe ContentHash(loading: base + 48) == key
        else { return nil }
        let body = bytes.count - ContentHash.byteCount
        guard (body - headerLength).isMultiple(of: entryLength) else { return nil }
        let count = (body - headerLength) / entryLength
        guard unsafe base.u64(80) == UInt64(count),
            unsafe ContentHash.of(.file, UnsafeRawBufferPointer(rebasing: bytes[..<body]))
                == ContentHash(loading: base + body)
        else { return nil }
        return count
    }

    /// Whether the entry had this change time, inode and device, and may be trusted.
    @inline(__always)
    func matches(_ ordinal: UInt64, _ node: SourceNode) -> Bool {
        guard ordinal < UInt64(count), let base = unsafe region.bytes.baseAddress else { return false }
        let entry = unsafe base + Self.headerLength + Int(ordinal) * Self.entryLength
        return unsafe Int64(bitPattern: entry.u64(0)) == node.changedSeconds
            && entry.u32(8) == node.changedNanoseconds
            && entry.u64(16) == node.inode && entry.u64(24) == node.device
    }

    /// Collects a new cache's entries, in ordinal order.
    struct Builder {
        private var bytes = ByteBuilder()
        private var count: UInt64 = 0

        init(capacity: Int) { bytes.reserve(capacity * StatCache.entryLength) }

        mutating func append(_ node: SourceNode, trusted: Bool) {
            bytes.u64(UInt64(bitPattern: node.changedSeconds))
            bytes.u32(trusted ? node.changedNanoseconds : StatCache.untrusted)
            bytes.u32(0)
            bytes.u64(node.inode)
            bytes.u64(node.device)
            count += 1
        }

        /// Replaces the cache at `path`. It is a hint, so a failure is none of the commit's.
        consuming func write(to path: ByteString, snapshot: ContentHash, key: ContentHash) {
            var file = ByteBuilder()
            file.reserve(bytes.count + StatCache.headerLength + ContentHash.byteCount)
            unsafe file.raw(UnsafeRawBufferPointer(start: StatCache.magic.utf8Start, count: 8))
            file.u32(StatCache.version)
            file.u32(0)
            file.raw(snapshot.bytes)
            file.raw(key.bytes)
            file.u64(count)
            file.u64(0)
            file.raw(bytes.bytes)
            file.raw(ContentHash.of(.file, file.bytes).bytes)
            try? StatCache.replace(path, file.bytes)
        }
    }

    private static func replace(_ path: ByteString, _ bytes: [UInt8]) throws(Errno) {
        let files = HostFileSystem()
        if let slash = path.bytes.lastIndex(of: UInt8(ascii: "/")) {
            try files.makeDirectories(ByteString(Array(path.bytes[..<slash])), mode: 0o700)
        }
        // Renamed into place, so that whoever has the old one mapped keeps it.
        let temporary = ByteString(path.bytes + Array(".\(Hex.encode(HostRandom().bytes(6)))".utf8))
        let file = try files.open(temporary, O_WRONLY | O_CREAT | O_EXCL, mode: 0o600)
        do throws(Errno) {
            let written = unsafe bytes.withUnsafeBytes { bytes in
                Result { () throws(Errno) in try unsafe files.write(file, bytes, at: 0) }
            }
            try written.get()
            try files.rename(temporary, path)
        } catch {
            try? files.unlink(temporary)
            throw error
        }
    }
}

extension StatCache {
    /// What the cache belongs to: a store, a dataset and a source directory.
    static func key(storeID: String, dataset: DatasetName, source: ByteString) -> ContentHash {
        var text = Array(storeID.utf8) + [0] + Array(dataset.text.utf8) + [0]
        text += source.bytes
        return ContentHash.of(.file, text)
    }

    /// `<directory>/stat/<first 32 hex digits of the key>`; nil when there is no place for it.
    static func path(directory: ByteString?, key: ContentHash) -> ByteString? {
        guard let directory = directory ?? defaultDirectory() else { return nil }
        return directory.appending("stat").appending(ByteString(String(key.hex.prefix(32))))
    }

    private static func defaultDirectory() -> ByteString? {
        func environment(_ name: String) -> ByteString? {
            guard let value = unsafe getenv(name), unsafe value.pointee != 0 else { return nil }
            return unsafe ByteString(UnsafeRawBufferPointer(start: value, count: strlen(value)))
        }
        if let cache = environment("XDG_CACHE_HOME") { return cache.appending("kaml") }
        return environment("HOME").map { $0.appending(".cache").appending("kaml") }
    }
}
