/// What went wrong with a store, where, and what to do about it.
package struct StoreError: Error, Sendable, CustomStringConvertible {
    package enum Code: String, Sendable {
        /// An object's bytes are not what its name or its neighbours promise.
        case damaged
        /// The store or an object needs a newer version of kaml.
        case unsupported
        case notFound
        /// Somebody else changed the same branch, tag or name first.
        case conflict
        case invalidInput
        case noSpace
        /// The store cannot be reached now; the same call may work later.
        case unavailable
        /// A source file kept changing while it was read.
        case sourceChanged
        case permissionDenied
        case inputOutput
    }

    package var code: Code
    /// What happened, in one sentence without the names below.
    package var message: String
    package var dataset: String?
    package var snapshot: String?
    package var path: String?
    /// The store's object, as its key.
    package var object: String?
    package var cause: String?
    /// What the reader of the message can do.
    package var remedy: String?

    package init(
        _ code: Code, _ message: String, dataset: String? = nil, snapshot: String? = nil, path: String? = nil,
        object: String? = nil, cause: (any Error)? = nil, remedy: String? = nil
    ) {
        self.code = code
        self.message = message
        self.dataset = dataset
        self.snapshot = snapshot
        self.path = path
        self.object = object
        self.cause = cause.map { "\($0)" }
        self.remedy = remedy
    }

    package var description: String {
        var text = message
        let places = [
            dataset.map { "dataset \($0)" }, snapshot.map { "snapshot \($0.prefix(12))" },
            path.map { "path \($0)" }, object.map { "object \($0)" },
        ].compactMap(\.self)
        if !places.isEmpty { text += " (" + places.joined(separator: ", ") + ")" }
        if let cause { text += ": \(cause)" }
        if let remedy { text += ". \(remedy)" }
        return text
    }

    /// The same error with the places filled in that the thrower could not know.
    package func at(dataset: String? = nil, snapshot: String? = nil, path: String? = nil) -> StoreError {
        var error = self
        error.dataset = error.dataset ?? dataset
        error.snapshot = error.snapshot ?? snapshot
        error.path = error.path ?? path
        return error
    }
}
