package import ObjectStore

/// Why a store could not even be addressed.
package enum StoreOpeningError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What was typed, or what this process is set up with.
    case url(ObjectStoreURLError)

    package var description: String {
        switch self {
        case .url(let error): "\(error)"
        }
    }
}
