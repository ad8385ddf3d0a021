package import GRPCNIOTransportHTTP2Posix

extension RPCConnection {
    /// A connection to a server of the network, to be made when it is first used.
    ///
    /// - Throws: where TLS cannot be set up.
    package static func network(
        host: String, port: Int, isSecure: Bool
    ) throws -> HTTP2ClientTransport.Posix {
        // As address families are told apart: only an IPv6 address has colons.
        let target: any ResolvableTarget =
            host.contains(":") ? .ipv6(address: host, port: port) : .dns(host: host, port: port)
        return try HTTP2ClientTransport.Posix(
            target: target, transportSecurity: isSecure ? .tls : .plaintext, eventLoopGroup: EventLoops.group)
    }
}
