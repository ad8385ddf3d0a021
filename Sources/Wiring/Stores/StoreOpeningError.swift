package import ObjectStore

/// Why a store could not even be addressed.
package enum StoreOpeningError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What was typed, or what this process is set up with.
    case url(ObjectStoreURLError)
    /// A variable of the environment that cannot be understood, and what to give instead.
    case setting(name: String, String)
    /// The proxy's address is none; it is not shown, since it may hold a password.
    case proxy

    package var description: String {
        switch self {
        case .url(let error): "\(error)"
        case .setting(let name, let remedy): "\(name) cannot be understood: \(remedy)"
        case .proxy:
            "the proxy's address cannot be used; give one like http://proxy.example:3128 with --proxy"
        }
    }
}
