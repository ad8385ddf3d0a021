import Glibc
package import NodeCache
package import System

/// Where the keys of an encrypted cache come from: files, or a program that a key management service stands behind.
package struct CacheKeySource: Hashable, Sendable {
    /// A file with the key: 32 bytes, or the same in hexadecimal or base64.
    package var file: ByteString?
    /// A program that writes the key to its standard output.
    package var command: ByteString?
    /// Files with keys that earlier containers are sealed with.
    package var formerFiles: [ByteString]

    package init(file: ByteString? = nil, command: ByteString? = nil, formerFiles: [ByteString] = []) {
        self.file = file
        self.command = command
        self.formerFiles = formerFiles
    }

    package var isGiven: Bool { file != nil || command != nil }

    /// What speaks against these settings, each with the key it is about. Reads no key and runs nothing.
    func problems(_ secretFile: (ByteString) -> String?) -> [(key: String, text: String)] {
        var problems: [(String, String)] = []
        if file != nil && command != nil {
            problems.append(
                ("cache.keyCommand", "the key comes from cache.keyFile or from here, not from both"))
        }
        if !isGiven && !formerFiles.isEmpty {
            problems.append(
                ("cache.formerKeyFiles", "without a key of today (cache.keyFile) nothing is encrypted"))
        }
        for (key, path) in [("cache.keyFile", file)] + formerFiles.map({ ("cache.formerKeyFiles", $0) }) {
            if let path, let problem = secretFile(path) { problems.append((key, "\(path) \(problem)")) }
        }
        return problems
    }

    /// Nil when the cache is in the clear. May block for `KeyCommand.patience`.
    ///
    /// - Throws: `CacheError.unusable` when a key is not to be had; never with any of it.
    package func load() throws(CacheError) -> CacheKeys? {
        if let (key, text) = problems(SecretFile.problem).first {
            throw CacheError(
                .unusable, "the cache cannot be encrypted: \(key): \(text)",
                remedy:
                    "Give the key as 32 random bytes in a file of mode 0600, as `openssl rand -out FILE 32` makes it"
            )
        }
        let current: CacheKey
        if let command {
            current = try Self.key(try KeyCommand(command).run(), "the output of \(command)")
        } else if let file {
            current = try Self.key(in: file)
        } else {
            return nil
        }
        var former: [CacheKey] = []
        for path in formerFiles { former.append(try Self.key(in: path)) }
        return CacheKeys(current: current, former: former)
    }

    private static func key(in path: ByteString) throws(CacheError) -> CacheKey {
        let bytes: [UInt8]
        do throws(Errno) { bytes = try Self.bytes(of: path) } catch {
            throw CacheError(
                .unusable, "the cache's key in \(path) cannot be read", cause: error,
                remedy: "Look at the file's owner and mode")
        }
        return try key(bytes, "\(path)")
    }

    private static func key(_ bytes: [UInt8], _ place: String) throws(CacheError) -> CacheKey {
        if let key = CacheKey.written(bytes) { return key }
        throw CacheError(
            .unusable, "\(place) is no key for the cache",
            remedy: "A key is 32 random bytes, as they are, as 64 hexadecimal digits, or in base64")
    }

    private static func bytes(of path: ByteString) throws(Errno) -> [UInt8] {
        let file = try FileDescriptor.open(path, O_RDONLY | O_NONBLOCK)
        var bytes = [UInt8](repeating: 0, count: KeyCommand.largestOutput)
        let outcome = unsafe bytes.withUnsafeMutableBytes { buffer in
            Result { () throws(Errno) in try unsafe file.read(into: buffer, at: 0) }
        }
        return Array(bytes.prefix(try outcome.get()))
    }
}
