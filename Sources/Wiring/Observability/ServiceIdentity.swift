import Glibc
package import Telemetry

/// Who speaks in logs and traces.
package struct ServiceIdentity: Hashable, Sendable {
    package var name: String
    package var version: String
    /// Different for each process.
    package var instance: String
    package var host: String
    package var node: String?
    package var pod: String?
    /// What the environment adds (`OTEL_RESOURCE_ATTRIBUTES`).
    package var further: [SpanAttribute] = []

    package init(name: String, version: String, instance: String, host: String) {
        self.name = name
        self.version = version
        self.instance = instance
        self.host = host
    }

    /// This process; Kubernetes says node and pod by NODE_NAME and POD_NAME.
    package static func process(
        name: String, version: String, environment: (String) -> String? = Self.environment
    ) -> ServiceIdentity {
        var buffer = [CChar](repeating: 0, count: 256)
        // The last byte stays 0.
        let known = unsafe gethostname(&buffer, buffer.count - 1) == 0
        let bytes = buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
        let host = known ? String(decoding: bytes, as: UTF8.self) : "unknown"
        let pod = environment("POD_NAME").flatMap { $0.isEmpty ? nil : $0 }
        var identity = ServiceIdentity(
            name: environment("OTEL_SERVICE_NAME").flatMap { $0.isEmpty ? nil : $0 } ?? name,
            version: version, instance: "\(pod ?? host)-\(getpid())", host: host)
        identity.node = environment("NODE_NAME").flatMap { $0.isEmpty ? nil : $0 }
        identity.pod = pod
        return identity
    }

    package static func environment(_ name: String) -> String? {
        unsafe getenv(name).map { unsafe String(cString: $0) }
    }

    /// As OpenTelemetry names them. What the environment adds does not replace what is known.
    package var attributes: [SpanAttribute] {
        var attributes = [
            SpanAttribute("service.name", .text(name)), SpanAttribute("service.version", .text(version)),
            SpanAttribute("service.instance.id", .text(instance)), SpanAttribute("host.name", .text(host)),
        ]
        if let node { attributes.append(SpanAttribute("k8s.node.name", .text(node))) }
        if let pod { attributes.append(SpanAttribute("k8s.pod.name", .text(pod))) }
        let known = Set(attributes.map(\.key))
        return attributes + further.filter { !known.contains($0.key) }
    }
}
