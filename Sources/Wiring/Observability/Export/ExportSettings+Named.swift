package import HTTPExchange
package import Telemetry

extension ExportSettings {
    /// Of a base URL that a configuration names, with the fields of its own file; nil when it is no URL of a collector.
    package init?(endpoint: String, carrier: ExportProtocol, fields: [HTTPField], sampler: Sampler) {
        guard let place = ExportEndpoint(endpoint) else { return nil }
        self.init(
            carrier: carrier, origin: place.origin, target: place.path + "/v1/traces", fields: fields,
            timeout: 10_000_000_000, sampler: sampler, resource: [])
    }

    /// Whether a collector can be reached under this base URL.
    package static func isEndpoint(_ url: String) -> Bool { ExportEndpoint(url) != nil }

    /// What OpenTelemetry's environment adds to the description of a process; empty where that is malformed.
    package static func resource(
        _ environment: (String) -> String? = ServiceIdentity.environment
    ) -> [SpanAttribute] {
        (pairs(environment("OTEL_RESOURCE_ATTRIBUTES") ?? "") ?? []).map {
            SpanAttribute($0.0, .text($0.1))
        }
    }

    /// One `name: value` a line, blank lines and those after # aside; nil when something else is among them.
    package static func fields(ofFile text: String) -> [HTTPField]? {
        var fields: [HTTPField] = []
        for line in text.split(separator: "\n") {
            let line = trimmed(line.last == "\r" ? line.dropLast() : line)
            if line.isEmpty || line.first == "#" { continue }
            let parts = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2, !parts[0].isEmpty, fields.count < 64 else { return nil }
            let (name, value) = (String(parts[0]), String(trimmed(parts[1])))
            guard isField(name, value) else { return nil }
            fields.append(HTTPField(name.lowercased(), value))
        }
        return fields
    }
}
