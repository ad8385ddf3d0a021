package import HTTPExchange
package import ObjectStore

/// Why a store could not even be addressed: what was typed, or what this process is set up with.
package enum StoreOpeningError: Error, Hashable, Sendable, CustomStringConvertible {
    case url(ObjectStoreURLError)
    /// The HTTP client cannot be made: a CA file that cannot be read, say.
    case transport(HTTPError)

    package var description: String {
        switch self {
        case .url(let error): "\(error)"
        case .transport(let error): error.detail
        }
    }
}
