import CCrypto
import System

/// What stands before sealed bytes, in the clear: the bytes' own key, sealed with a key of the node, and the nonce and tag
/// of one body.
///
/// 112 bytes: magic 8, version u32, zero u32, name of the node's key 8, nonce 12, sealed key 32, tag 16, nonce 12 and tag
/// 16 of the body. Everything is sealed together with words that say what it is for, so that nothing can stand in for
/// anything else.
struct SealEnvelope {
    static let byteCount = 112
    private static let magic: StaticString = "KAMLSEAL"
    private static let version: UInt32 = 1
    private static let nameOffset = 16
    private static let keyOffset = 24
    static let bodyOffset = 84
    static let bodyMarkBytes = SealCipher.nonceBytes + SealCipher.tagBytes

    /// The key that the body, or whatever follows, is sealed with.
    let key: CacheKey
    /// Nonce and tag of the body; zeros while there is none.
    var bodyMark: [UInt8]
    private let head: [UInt8]

    /// A new key for `purpose`.
    static func new(for purpose: [UInt8], _ keys: CacheKeys, _ pool: SealBufferPool) throws(SealError)
        -> SealEnvelope
    {
        let key = try CacheKey.random()
        var head: [UInt8] = []
        unsafe head.append(contentsOf: UnsafeBufferPointer(start: magic.utf8Start, count: 8))
        head.appendLittleEndian(version)
        head.appendLittleEndian(UInt32(0))
        head += keys.current.name.bytes
        guard
            let sealed = unsafe pool.seal(
                UnsafeRawBufferPointer(start: key.bytes, count: CacheKey.byteCount), with: keys.current,
                for: purpose)
        else { throw .noCipher }
        head += sealed.mark.prefix(SealCipher.nonceBytes)
        head += sealed.bytes
        head += sealed.mark.suffix(SealCipher.tagBytes)
        return SealEnvelope(
            key: key, bodyMark: [UInt8](repeating: 0, count: bodyMarkBytes), head: head)
    }

    private init(key: CacheKey, bodyMark: [UInt8], head: [UInt8]) {
        self.key = key
        self.bodyMark = bodyMark
        self.head = head
    }

    /// Nil when the bytes are no envelope, for something else, or for keys that are not at hand.
    init?(_ bytes: [UInt8], for purpose: [UInt8], _ keys: CacheKeys, _ pool: SealBufferPool) {
        guard let name = Self.keyName(bytes), let nodeKey = keys.key(named: name) else { return nil }
        let sealed = Array(bytes[(Self.keyOffset + 12)..<(Self.keyOffset + 44)])
        let mark =
            Array(bytes[Self.keyOffset..<(Self.keyOffset + 12)])
            + Array(bytes[(Self.keyOffset + 44)..<(Self.keyOffset + 60)])
        guard var plain = pool.open(sealed, mark, with: nodeKey, for: purpose) else { return nil }
        defer { unsafe plain.withUnsafeMutableBytes { unsafe OPENSSL_cleanse($0.baseAddress, $0.count) } }
        let made = unsafe plain.withUnsafeBytes { plain in
            unsafe plain.baseAddress.flatMap { bytes in try? unsafe CacheKey(bytes) }
        }
        guard let made else { return nil }
        key = made
        head = Array(bytes[..<Self.bodyOffset])
        bodyMark = Array(bytes[Self.bodyOffset..<Self.byteCount])
    }

    /// The node's key that an envelope needs; nil when the bytes are none.
    static func keyName(_ bytes: [UInt8]) -> KeyName? {
        guard bytes.count >= byteCount,
            unsafe bytes.prefix(8).elementsEqual(UnsafeBufferPointer(start: magic.utf8Start, count: 8)),
            bytes[8..<16].elementsEqual([UInt8(version), 0, 0, 0, 0, 0, 0, 0])
        else { return nil }
        return KeyName(bytes[nameOffset..<keyOffset])
    }

    var encoded: [UInt8] { head + bodyMark }
}

extension SealBufferPool {
    /// Seals a few bytes under a fresh nonce. The mark is nonce and tag.
    func seal(
        _ plain: UnsafeRawBufferPointer, with key: CacheKey, for purpose: [UInt8]
    ) -> (bytes: [UInt8], mark: [UInt8])? {
        var sealed = [UInt8](repeating: 0, count: plain.count)
        guard
            let mark = unsafe sealed.withUnsafeMutableBytes({ sealed in
                unsafe seal(plain, into: sealed, with: key, for: purpose)
            })
        else { return nil }
        return (sealed, mark)
    }

    /// Seals into `sealed`, which has as many bytes; nonce and tag.
    func seal(
        _ plain: UnsafeRawBufferPointer, into sealed: UnsafeMutableRawBufferPointer, with key: CacheKey,
        for purpose: [UInt8]
    ) -> [UInt8]? {
        var mark = [UInt8](repeating: 0, count: SealEnvelope.bodyMarkBytes)
        // Empty buffers have no address, and nothing to seal.
        guard let target = sealed.baseAddress, plain.count == sealed.count else { return nil }
        let isSealed = with { buffers in
            unsafe mark.withUnsafeMutableBytes { mark in
                unsafe purpose.withUnsafeBytes { purpose in
                    guard let nonce = mark.baseAddress,
                        unsafe RAND_bytes(
                            nonce.assumingMemoryBound(to: UInt8.self), Int32(SealCipher.nonceBytes)) == 1
                    else { return false }
                    return unsafe buffers.cipher.seal(
                        plain, into: target, with: key, nonce: nonce, tag: nonce + SealCipher.nonceBytes,
                        about: purpose)
                }
            }
        }
        return isSealed == true ? mark : nil
    }

    /// Opens in place. Whether it is what was sealed.
    func open(
        inPlace bytes: UnsafeMutableRawBufferPointer, _ mark: [UInt8], with key: CacheKey,
        for purpose: [UInt8]
    ) -> Bool {
        guard let target = bytes.baseAddress, mark.count == SealEnvelope.bodyMarkBytes else { return false }
        return with { buffers in
            unsafe mark.withUnsafeBytes { mark in
                unsafe purpose.withUnsafeBytes { purpose in
                    guard let nonce = mark.baseAddress else { return false }
                    return unsafe buffers.cipher.open(
                        UnsafeRawBufferPointer(bytes), into: target, with: key, nonce: nonce,
                        tag: nonce + SealCipher.nonceBytes, about: purpose)
                }
            }
        } ?? false
    }

    func open(_ sealed: [UInt8], _ mark: [UInt8], with key: CacheKey, for purpose: [UInt8]) -> [UInt8]? {
        var bytes = sealed
        let isRight = unsafe bytes.withUnsafeMutableBytes {
            unsafe open(inPlace: $0, mark, with: key, for: purpose)
        }
        return isRight ? bytes : nil
    }
}
