import CCrypto
import Chunking

/// What an object's ETag says of its bytes.
struct ObjectTag {
    let md5: [UInt8]

    /// Nil for tags that are no MD5: those of multipart uploads have a dash, others any form. Of an encrypted object the
    /// tag looks like one and is none.
    init?(_ tag: String) {
        guard tag.utf8.count == 32, let bytes = Hex.decode(tag) else { return nil }
        md5 = bytes
    }

    func matches(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var digest = [UInt8](repeating: 0, count: 16)
        // A machine on which MD5 is forbidden cannot tell.
        guard unsafe EVP_Digest(bytes.baseAddress, bytes.count, &digest, nil, EVP_md5(), nil) == 1 else {
            return true
        }
        return digest == md5
    }
}
