import CCrypto
import Chunking
import System

/// A 256-bit AES key, in memory of its own that is wiped when it goes. Shows nothing of itself but its name.
@safe package final class CacheKey: Sendable, CustomStringConvertible, CustomReflectable {
    package static let byteCount = 32

    // Sendable: written before the object is anybody's, and never again.
    private nonisolated(unsafe) let memory: UnsafeMutableRawPointer
    /// A digest of the key, by which files say what key they need. Tells nothing of the key.
    package let name: KeyName

    private init(filling fill: (UnsafeMutableRawPointer) -> Bool) throws(SealError) {
        unsafe memory = .allocate(byteCount: Self.byteCount, alignment: 16)
        guard unsafe fill(memory) else {
            unsafe memory.deallocate()
            throw .noCipher
        }
        name = unsafe KeyName(of: UnsafeRawPointer(memory))
    }

    /// A new key.
    static func random() throws(SealError) -> CacheKey {
        try unsafe CacheKey { memory in unsafe RAND_priv_bytes(memory, Int32(byteCount)) == 1 }
    }

    /// 32 bytes.
    convenience init(_ bytes: UnsafeRawPointer) throws(SealError) {
        try unsafe self.init { memory in
            unsafe memory.copyMemory(from: bytes, byteCount: Self.byteCount)
            return true
        }
    }

    /// A key as a file or a command gives it: 32 bytes, or the same as 64 hexadecimal digits or in base64, with white
    /// space around. Nil when the bytes are none of these.
    package static func written(_ bytes: [UInt8]) -> CacheKey? {
        var decoded = decode(bytes)
        defer { unsafe decoded?.withUnsafeMutableBytes { unsafe OPENSSL_cleanse($0.baseAddress, $0.count) } }
        // A file of zeros is a mistake, and so is any byte 32 times.
        guard let key = decoded, key.count == byteCount, Set(key).count > 1 else { return nil }
        return unsafe key.withUnsafeBytes { key in
            unsafe key.baseAddress.flatMap { bytes in try? unsafe CacheKey(bytes) }
        }
    }

    private static func decode(_ bytes: [UInt8]) -> [UInt8]? {
        if bytes.count == byteCount { return bytes }
        let isBlank: (UInt8) -> Bool = { $0 == 0x20 || (0x09...0x0D).contains($0) }
        guard let first = bytes.firstIndex(where: { !isBlank($0) }),
            let last = bytes.lastIndex(where: { !isBlank($0) })
        else { return nil }
        let text = Array(bytes[first...last])
        switch text.count {
        case 64: return Hex.decode(String(decoding: text, as: UTF8.self).lowercased())
        case 44: return base64(text)
        default: return nil
        }
    }

    private static func base64(_ text: [UInt8]) -> [UInt8]? {
        var decoded = [UInt8](repeating: 0, count: 33)
        // 44 characters with one `=` at the end are 32 bytes; libcrypto counts the padding as one more.
        guard text.last == UInt8(ascii: "="), !text.dropLast().contains(UInt8(ascii: "=")),
            unsafe EVP_DecodeBlock(&decoded, text, Int32(text.count)) == 33
        else { return nil }
        return Array(decoded.prefix(byteCount))
    }

    deinit {
        unsafe OPENSSL_cleanse(memory, Self.byteCount)
        unsafe memory.deallocate()
    }

    /// The key itself, while this object lives.
    var bytes: UnsafeRawPointer { unsafe UnsafeRawPointer(memory) }

    package var description: String { "key \(name)" }
    package var customMirror: Mirror { Mirror(self, children: []) }
}

/// Eight bytes that tell keys apart.
package struct KeyName: Hashable, Sendable, CustomStringConvertible {
    static let byteCount = 8
    let bytes: [UInt8]

    init?(_ bytes: some Sequence<UInt8>) {
        self.bytes = Array(bytes)
        if self.bytes.count != Self.byteCount { return nil }
    }

    init?(hex: String) {
        guard let bytes = Hex.decode(hex) else { return nil }
        self.init(bytes)
    }

    fileprivate init(of key: UnsafeRawPointer) {
        // The hash of a random key, under a label that nothing else is hashed with.
        let label = Array("kaml cache key name 1".utf8)
        var hashed = [UInt8](repeating: 0, count: label.count + CacheKey.byteCount)
        unsafe hashed.withUnsafeMutableBytes { hashed in
            unsafe hashed.copyBytes(from: label)
            unsafe UnsafeMutableRawBufferPointer(rebasing: hashed[label.count...])
                .copyMemory(from: UnsafeRawBufferPointer(start: key, count: CacheKey.byteCount))
        }
        bytes = Array(unsafe hashed.withUnsafeBytes { unsafe ContentHash.of(.chunk, $0) }.bytes.prefix(8))
        unsafe hashed.withUnsafeMutableBytes { unsafe OPENSSL_cleanse($0.baseAddress, $0.count) }
    }

    package var description: String { Hex.encode(bytes) }
}

/// The node's keys: the one that new files are sealed with, and former ones, whose files can still be read.
package struct CacheKeys: Sendable, Hashable {
    package let current: CacheKey
    package let former: [CacheKey]

    package init(current: CacheKey, former: [CacheKey] = []) {
        self.current = current
        self.former = former
    }

    var names: Set<KeyName> { Set(former.map(\.name)).union([current.name]) }

    func key(named name: KeyName) -> CacheKey? {
        current.name == name ? current : former.first { $0.name == name }
    }

    package static func == (left: CacheKeys, right: CacheKeys) -> Bool {
        left.current.name == right.current.name && left.names == right.names
    }

    package func hash(into hasher: inout Hasher) { hasher.combine(current.name) }
}
