import CCrypto
import Chunking

/// SHA-256 and HMAC-SHA-256 by libcrypto, as SigV4 needs them.
enum SHA256 {
    static let emptyHex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

    static func hex(_ bytes: UnsafeRawBufferPointer) -> String {
        var digest = [UInt8](repeating: 0, count: 32)
        let isDone = unsafe EVP_Digest(bytes.baseAddress, bytes.count, &digest, nil, EVP_sha256(), nil)
        precondition(isDone == 1, "libcrypto has no SHA-256 or no memory: nothing can be signed")
        return Hex.encode(digest)
    }

    static func hex(_ bytes: [UInt8]) -> String { unsafe bytes.withUnsafeBytes { unsafe hex($0) } }

    static func hmac(_ key: [UInt8], _ text: some Collection<UInt8>) -> [UInt8] {
        var code = [UInt8](repeating: 0, count: 32)
        let text = Array(text)
        let result = unsafe HMAC(EVP_sha256(), key, Int32(key.count), text, text.count, &code, nil)
        unsafe precondition(result != nil, "libcrypto has no HMAC or no memory: nothing can be signed")
        return code
    }
}
