import Glibc
package import ObjectStore
package import System

/// Where the store is that a command works on.
package enum StorePlace {
    package static let variable = "KAML_STORE"

    /// What `--store` says, else the environment.
    package static func url(_ option: String?) throws -> ObjectStoreURL {
        guard let text = option ?? environment(variable) else {
            throw Failure(
                .usage, "no store is named",
                hint: "give --store file:///path/of/the/store or s3://bucket/prefix, or set \(variable)")
        }
        do { return try ObjectStoreURL(text) } catch {
            throw Failure(.usage, "\(error)", hint: "a store is file:///path, a path, or s3://bucket/prefix")
        }
    }

    package static func environment(_ name: String) -> String? {
        guard let value = unsafe getenv(name), unsafe value.pointee != 0 else { return nil }
        return unsafe String(cString: value)
    }

    /// `user@host` for the log.
    package static var author: String {
        var host = [CChar](repeating: 0, count: 256)
        _ = unsafe gethostname(&host, host.count - 1)
        let name = String(decoding: host.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return "\(user)@\(name)"
    }

    private static var user: String {
        var record = unsafe passwd()
        var found: UnsafeMutablePointer<passwd>?
        var buffer = [CChar](repeating: 0, count: 16 << 10)
        let status = unsafe getpwuid_r(geteuid(), &record, &buffer, buffer.count, &found)
        guard status == 0, unsafe found != nil, let name = unsafe record.pw_name else {
            return environment("USER") ?? "uid\(geteuid())"
        }
        return unsafe String(cString: name)
    }
}

/// Where a node's cache is unless the user says otherwise.
package enum CachePlace {
    package static func directory(
        _ option: String?, isRoot: Bool = geteuid() == 0,
        environment: (String) -> String? = StorePlace.environment
    ) throws -> ByteString {
        if let option { return try absolute(RawArguments.bytes(of: option)) }
        if let named = environment("KAML_CACHE_DIR") { return try absolute(ByteString(named)) }
        if isRoot { return "/var/cache/kaml" }
        if let base = environment("XDG_CACHE_HOME") {
            return try absolute(ByteString(base)).appending("kaml")
        }
        guard let home = environment("HOME") else {
            throw Failure(
                .usage, "no cache directory is named", hint: "give --cache-dir, or set KAML_CACHE_DIR")
        }
        return ByteString(home).appending(".cache/kaml")
    }

    /// Below the working directory unless absolute.
    package static func absolute(_ path: ByteString) throws -> ByteString {
        if path.bytes.first == UInt8(ascii: "/") { return path }
        guard let current = unsafe getcwd(nil, 0) else {
            throw Failure("cannot tell the working directory", Errno.last)
        }
        defer { unsafe free(current) }
        return unsafe ByteString(UnsafeRawBufferPointer(start: current, count: strlen(current))).appending(
            path)
    }
}
