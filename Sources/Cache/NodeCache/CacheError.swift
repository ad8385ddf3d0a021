/// What went wrong with a cache or with filling it, where, and what to do about it.
///
/// Trouble with the cache's own disk is no error once the cache is open: reads then go through to the
/// store, and the notice says so.
package struct CacheError: Error, Sendable, Hashable, CustomStringConvertible {
    package enum Code: String, Sendable, Hashable {
        /// Another process uses the directory.
        case inUse
        /// The directory cannot be used as it is: wrong owner, writable by everybody, not a directory.
        case unusable
        /// A newer version of kaml made the directory or the object.
        case unsupported
        /// The store's bytes are not what the snapshot promises.
        case damaged
        /// An imported object is no longer the one that the snapshot refers to.
        case changed
        case notFound
        /// The store cannot be reached now; the same call may work later.
        case unavailable
        case permissionDenied
        case inputOutput
        /// Memory, descriptors or mappings ran out.
        case exhausted
        /// The cache was closed.
        case closed
    }

    package var code: Code
    /// What happened, in one sentence without the names below.
    package var message: String
    /// The store's object, as its key.
    package var object: String?
    /// Index of the chunk in its pack.
    package var chunk: Int?
    package var cause: String?
    /// What the reader of the message can do.
    package var remedy: String?

    package init(
        _ code: Code, _ message: String, object: String? = nil, chunk: Int? = nil, cause: (any Error)? = nil,
        remedy: String? = nil
    ) {
        self.code = code
        self.message = message
        self.object = object
        self.chunk = chunk
        self.cause = cause.map { "\($0)" }
        self.remedy = remedy
    }

    package var description: String {
        var text = message
        let places = [object.map { "object \($0)" }, chunk.map { "chunk \($0)" }].compactMap(\.self)
        if !places.isEmpty { text += " (" + places.joined(separator: ", ") + ")" }
        if let cause { text += ": \(cause)" }
        if let remedy { text += ". \(remedy)" }
        return text
    }
}
