import CCrypto

/// Why something could not be sealed.
enum SealError: Error {
    /// libcrypto has no AES-256-GCM, no randomness or no memory.
    case noCipher
}

/// AES-256-GCM: a context that is set up once and used by one thread at a time.
@safe final class SealCipher {
    static let nonceBytes = 12
    static let tagBytes = 16
    /// What libcrypto takes in one call is an `int`.
    private static let piece = 1 << 30

    private let context: OpaquePointer
    /// The key that the context has now.
    private var key: CacheKey?

    init?() {
        guard let context = unsafe EVP_CIPHER_CTX_new() else { return nil }
        guard unsafe EVP_CipherInit_ex(context, EVP_aes_256_gcm(), nil, nil, nil, 0) == 1 else {
            unsafe EVP_CIPHER_CTX_free(context)
            return nil
        }
        unsafe self.context = unsafe context
    }

    deinit { unsafe EVP_CIPHER_CTX_free(context) }

    /// Encrypts `plain` into `sealed`, which has as many bytes and may be the same memory; `tag` is 16 bytes that are
    /// written, `nonce` 12 that were never used with this key.
    func seal(
        _ plain: UnsafeRawBufferPointer, into sealed: UnsafeMutableRawPointer, with key: CacheKey,
        nonce: UnsafeRawPointer, tag: UnsafeMutableRawPointer, about additional: UnsafeRawBufferPointer
    ) -> Bool {
        guard unsafe run(plain, into: sealed, key, nonce, additional, encrypts: 1),
            finish(),
            unsafe EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, Int32(Self.tagBytes), tag) == 1
        else { return false }
        return true
    }

    /// Decrypts; false when the bytes are not what was sealed with this key, nonce and context. What is in `plain` then
    /// means nothing.
    func open(
        _ sealed: UnsafeRawBufferPointer, into plain: UnsafeMutableRawPointer, with key: CacheKey,
        nonce: UnsafeRawPointer, tag: UnsafeRawPointer, about additional: UnsafeRawBufferPointer
    ) -> Bool {
        guard unsafe run(sealed, into: plain, key, nonce, additional, encrypts: 0),
            unsafe EVP_CIPHER_CTX_ctrl(
                context, EVP_CTRL_AEAD_SET_TAG, Int32(Self.tagBytes), UnsafeMutableRawPointer(mutating: tag))
                == 1
        else { return false }
        return finish()
    }

    private func run(
        _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawPointer, _ key: CacheKey,
        _ nonce: UnsafeRawPointer, _ additional: UnsafeRawBufferPointer, encrypts: Int32
    ) -> Bool {
        // Setting a key up takes longer than a nonce.
        let keyBytes = unsafe self.key === key ? nil : key.bytes.assumingMemoryBound(to: UInt8.self)
        self.key = nil
        guard
            unsafe EVP_CipherInit_ex(
                context, nil, nil, keyBytes, nonce.assumingMemoryBound(to: UInt8.self), encrypts) == 1
        else { return false }
        self.key = key
        var count: Int32 = 0
        guard
            unsafe EVP_CipherUpdate(
                context, nil, &count, additional.baseAddress?.assumingMemoryBound(to: UInt8.self),
                Int32(additional.count)) == 1
        else { return false }
        var done = 0
        while done < input.count {
            let length = min(Self.piece, input.count - done)
            guard
                unsafe EVP_CipherUpdate(
                    context, (output + done).assumingMemoryBound(to: UInt8.self), &count,
                    (input.baseAddress.unsafelyUnwrapped + done).assumingMemoryBound(to: UInt8.self),
                    Int32(length)) == 1
            else { return false }
            done += length
        }
        return true
    }

    private func finish() -> Bool {
        // GCM writes nothing here.
        var rest: (UInt64, UInt64) = (0, 0)
        var count: Int32 = 0
        return unsafe withUnsafeMutableBytes(of: &rest) { rest in
            unsafe EVP_CipherFinal_ex(
                context, rest.baseAddress?.assumingMemoryBound(to: UInt8.self), &count)
        } == 1
    }
}
