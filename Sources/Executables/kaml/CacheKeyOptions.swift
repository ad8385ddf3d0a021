import Agent
import ArgumentParser
import KamlCommand
import NodeCache
import System

/// How commands that use a cache directory themselves are given its key.
struct CacheKeyOptions: ParsableArguments {
    @Option(
        help:
            "The file with the key that the cache is encrypted with; else KAML_CACHE_KEY_FILE. `openssl rand -out FILE 32` makes one.",
        completion: .file())
    var cacheKeyFile: String?

    /// Options for a cache, with its key if one is given.
    func cacheOptions() throws -> CacheOptions {
        var options = CacheOptions()
        options.keys = try source().load()
        return options
    }

    private func source() throws -> CacheKeySource {
        func path(_ option: String?, _ variable: String) throws -> ByteString? {
            if let option { return try CachePlace.absolute(RawArguments.bytes(of: option)) }
            return try StorePlace.environment(variable).map { try CachePlace.absolute(ByteString($0)) }
        }
        let former = StorePlace.environment("KAML_CACHE_FORMER_KEY_FILES")?.split(separator: ":") ?? []
        var source = CacheKeySource(
            file: try path(cacheKeyFile, "KAML_CACHE_KEY_FILE"),
            formerFiles: try former.map { try CachePlace.absolute(ByteString(String($0))) })
        if source.file == nil { source.command = try path(nil, "KAML_CACHE_KEY_COMMAND") }
        return source
    }
}
