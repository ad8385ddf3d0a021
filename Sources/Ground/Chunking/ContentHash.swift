import CCrypto

/// What an object is. The kind is part of what is hashed, so an object of one kind can never pass for
/// another (borg's CVE-2016-10099 and CVE-2023-36811 were that confusion).
package enum ObjectKind: UInt8, Sendable, CaseIterable {
    case chunk = 1
    case packFooter = 2
    case manifestShard = 3
    case manifestRoot = 4
    case logRecord = 5
    /// A file of several chunks: the hash over its (chunk hash, length) list.
    case file = 6
    /// Which object of somebody else's a file refers to: its place and version, not its bytes.
    case foreignObject = 7

    /// 16 ASCII bytes, padded with NUL, that precede the object's bytes in the hash.
    package var tag: StaticString {
        switch self {
        case .chunk: "kaml.chunk.v1\0\0\0"
        case .packFooter: "kaml.footer.v1\0\0"
        case .manifestShard: "kaml.shard.v1\0\0\0"
        case .manifestRoot: "kaml.root.v1\0\0\0\0"
        case .logRecord: "kaml.log.v1\0\0\0\0\0"
        case .file: "kaml.file.v1\0\0\0\0"
        case .foreignObject: "kaml.object.v1\0\0"
        }
    }
}

/// The 32-byte name of an object: SHA-256 over its kind's tag and its bytes.
package struct ContentHash: Hashable, Sendable, Comparable, CustomStringConvertible {
    // Four words rather than an array: no allocation, no reference counting, cheap equality.
    package var words: (UInt64, UInt64, UInt64, UInt64)

    package static let byteCount = 32
    package static let zero = ContentHash(words: (0, 0, 0, 0))

    package init(words: (UInt64, UInt64, UInt64, UInt64)) { self.words = words }

    /// Reads 32 bytes as they lie in an object. The caller has checked the bounds.
    package init(loading bytes: UnsafeRawPointer) {
        words = unsafe (
            bytes.loadUnaligned(fromByteOffset: 0, as: UInt64.self),
            bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self),
            bytes.loadUnaligned(fromByteOffset: 16, as: UInt64.self),
            bytes.loadUnaligned(fromByteOffset: 24, as: UInt64.self)
        )
    }

    /// Exactly 32 bytes, or nil.
    package init?(_ bytes: [UInt8]) {
        guard bytes.count == Self.byteCount else { return nil }
        var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
        unsafe withUnsafeMutableBytes(of: &words) { unsafe $0.copyBytes(from: bytes) }
        self.words = words
    }

    /// Exactly 64 hexadecimal digits, or nil.
    package init?(hex: String) {
        guard let bytes = Hex.decode(hex) else { return nil }
        self.init(bytes)
    }

    /// Hashes bytes that are at hand as one run.
    package static func of(_ kind: ObjectKind, _ bytes: UnsafeRawBufferPointer) -> ContentHash {
        let hasher = ContentHasher()
        return unsafe hasher.hash(kind, bytes)
    }

    package static func of(_ kind: ObjectKind, _ bytes: [UInt8]) -> ContentHash {
        unsafe bytes.withUnsafeBytes { unsafe of(kind, $0) }
    }

    package var bytes: [UInt8] { unsafe withUnsafeBytes(of: words) { unsafe Array($0) } }
    package var hex: String { Hex.encode(bytes) }
    package var description: String { hex }

    /// A well-mixed word for tables: the hash's own first bytes.
    package var tableWord: UInt64 { words.0 }

    package static func == (left: ContentHash, right: ContentHash) -> Bool { left.words == right.words }

    package func hash(into hasher: inout Hasher) { hasher.combine(words.0) }

    package static func < (left: ContentHash, right: ContentHash) -> Bool {
        left.bytes.lexicographicallyPrecedes(right.bytes)
    }

    /// Copies the 32 bytes to `destination`, which has room for them.
    package func store(to destination: UnsafeMutableRawPointer) {
        unsafe withUnsafeBytes(of: words) {
            unsafe destination.copyMemory(
                from: $0.baseAddress ?? UnsafeRawPointer(destination), byteCount: 32)
        }
    }
}

/// A reusable SHA-256 context of libcrypto; one a thread, since setting one up costs more than hashing a
/// small file.
@safe package struct ContentHasher: ~Copyable {
    private let context: OpaquePointer
    private let algorithm: OpaquePointer

    package init() {
        guard let context = unsafe EVP_MD_CTX_new(), let algorithm = unsafe EVP_MD_fetch(nil, "SHA256", nil)
        else {
            preconditionFailure("libcrypto has no SHA-256 or no memory: nothing can be verified")
        }
        unsafe self.context = unsafe context
        unsafe self.algorithm = unsafe algorithm
    }

    deinit {
        unsafe EVP_MD_CTX_free(context)
        unsafe EVP_MD_free(algorithm)
    }

    package func hash(_ kind: ObjectKind, _ bytes: UnsafeRawBufferPointer) -> ContentHash {
        begin(kind)
        unsafe update(bytes)
        return finish()
    }

    /// Starts an object that comes in pieces; `update` and `finish` follow.
    package func begin(_ kind: ObjectKind) {
        let tag = kind.tag
        unsafe precondition(EVP_DigestInit_ex2(context, algorithm, nil) == 1, "EVP_DigestInit_ex2")
        unsafe EVP_DigestUpdate(context, tag.utf8Start, tag.utf8CodeUnitCount)
    }

    package func update(_ bytes: UnsafeRawBufferPointer) {
        unsafe EVP_DigestUpdate(context, bytes.baseAddress, bytes.count)
    }

    package func finish() -> ContentHash {
        var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
        let finished = unsafe withUnsafeMutableBytes(of: &words) { raw in
            unsafe EVP_DigestFinal_ex(context, raw.baseAddress?.assumingMemoryBound(to: UInt8.self), nil)
        }
        precondition(finished == 1, "EVP_DigestFinal_ex")
        return ContentHash(words: words)
    }
}

/// Lower-case hexadecimal.
package enum Hex {
    package static func encode(_ bytes: [UInt8]) -> String {
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        text.reserveCapacity(bytes.count * 2)
        for byte in bytes {
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 15)])
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// Nil unless `text` is pairs of hexadecimal digits.
    package static func decode(_ text: String) -> [UInt8]? {
        let digits = Array(text.utf8)
        guard digits.count.isMultiple(of: 2) else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(digits.count / 2)
        for index in stride(from: 0, to: digits.count, by: 2) {
            guard let high = value(digits[index]), let low = value(digits[index + 1]) else { return nil }
            bytes.append(high << 4 | low)
        }
        return bytes
    }

    private static func value(_ digit: UInt8) -> UInt8? {
        switch digit {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): digit - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}
