/// How the connections of one client are made.
package struct TransportOptions: Hashable, Sendable {
    package enum Proxy: Hashable, Sendable, CustomStringConvertible, CustomReflectable {
        /// `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy`, as every tool reads them. Never for loopback.
        case environment
        case none
        /// `http://host:port`; its user and password, if any, are never shown.
        case url(String)

        package var description: String {
            switch self {
            case .environment: "environment"
            case .none: "none"
            case .url: "url"
            }
        }

        /// Nothing: the address may hold a password.
        package var customMirror: Mirror { Mirror(self, children: [:]) }
    }

    /// A PEM file of the only authorities to trust; nil for the system's.
    package var caFile: String?
    /// Link-local addresses never go through it: credential services of clouds live there.
    package var proxy: Proxy
    /// Connections kept open without work, over all origins.
    package var maximumIdle: Int
    /// How long one is kept so, in nanoseconds. Well below the 60 s after which common servers hang up.
    package var idleAge: UInt64

    package init(
        caFile: String? = nil, proxy: Proxy = .environment, maximumIdle: Int = 128,
        idleAge: UInt64 = 20_000_000_000
    ) {
        self.caFile = caFile
        self.proxy = proxy
        self.maximumIdle = maximumIdle
        self.idleAge = idleAge
    }
}
