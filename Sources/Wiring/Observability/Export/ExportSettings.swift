package import HTTPExchange
package import Telemetry

/// How spans are carried, by the names of OpenTelemetry.
package enum ExportProtocol: String, Hashable, Sendable, CaseIterable {
    case http = "http/protobuf"
    case grpc
}

/// Where spans go, and which: what OpenTelemetry's environment variables say.
package struct ExportSettings: Sendable, CustomStringConvertible, CustomReflectable {
    package var carrier = ExportProtocol.http
    package var origin: HTTPOrigin
    /// Path of the endpoint, with `/v1/traces`; of no use to gRPC.
    package var target: String
    /// What the collector wants to see, such as a key: secret.
    package var fields: [HTTPField]
    /// Nanoseconds for one request.
    package var timeout: UInt64
    package var sampler: Sampler
    package var resource: [SpanAttribute]

    package var description: String { "spans to \(origin)\(target)" }
    package var customMirror: Mirror { Mirror(self, children: [:]) }

    /// One in a hundred, and the slow and the failed besides.
    package static let standardSampler = Sampler(ratio: 0.01)

    /// Nil when nothing says where to: tracing is off.
    ///
    /// `standard` is the sampler where none is named.
    ///
    /// - Throws: all that is wrong, each by the variable's name. Values are left out, since they may hold secrets.
    package static func read(
        else standard: Sampler = Self.standardSampler,
        _ environment: (String) -> String? = ServiceIdentity.environment
    ) throws(ExportSettingsError) -> ExportSettings? {
        func value(_ name: String) -> String? { environment(name).flatMap { $0.isEmpty ? nil : $0 } }
        if value("OTEL_SDK_DISABLED")?.lowercased() == "true" { return nil }
        if value("OTEL_TRACES_EXPORTER") == "none" { return nil }
        var problems: [String] = []
        let own = value("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
        guard let url = own ?? value("OTEL_EXPORTER_OTLP_ENDPOINT") else { return nil }
        let variable = own == nil ? "OTEL_EXPORTER_OTLP_ENDPOINT" : "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
        let endpoint = ExportEndpoint(url)
        if endpoint == nil {
            problems.append(
                "\(variable): give http://HOST:PORT or https://HOST:PORT, without a user or a query")
        }
        var carrier = ExportProtocol.http
        for name in ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] {
            guard let text = value(name) else { continue }
            if let known = ExportProtocol(rawValue: text) {
                carrier = known
            } else {
                problems.append("\(name): http/protobuf and grpc are spoken")
            }
        }
        var timeout: UInt64 = 10_000
        if let text = value("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT") ?? value("OTEL_EXPORTER_OTLP_TIMEOUT") {
            if let number = UInt64(text), (1...600_000).contains(number) {
                timeout = number
            } else {
                problems.append("OTEL_EXPORTER_OTLP_TIMEOUT: give milliseconds, 1 to 600000")
            }
        }
        let fields = Self.pairs(
            value("OTEL_EXPORTER_OTLP_TRACES_HEADERS") ?? value("OTEL_EXPORTER_OTLP_HEADERS") ?? "")
        if fields?.allSatisfy({ Self.isField($0.0, $0.1) }) != true {
            problems.append("OTEL_EXPORTER_OTLP_HEADERS: give KEY=VALUE, several parted by commas")
        }
        let resource = Self.pairs(value("OTEL_RESOURCE_ATTRIBUTES") ?? "")
        if resource == nil {
            problems.append("OTEL_RESOURCE_ATTRIBUTES: give KEY=VALUE, several parted by commas")
        }
        var sampler = standard
        if let name = value("OTEL_TRACES_SAMPLER") {
            if let named = Sampler(name: name, argument: value("OTEL_TRACES_SAMPLER_ARG")) {
                sampler = named
            } else {
                problems.append(
                    "OTEL_TRACES_SAMPLER, OTEL_TRACES_SAMPLER_ARG: give a sampler of OpenTelemetry, such as"
                        + " parentbased_traceidratio, and a share from 0 to 1")
            }
        }
        guard problems.isEmpty, let endpoint, let fields, let resource else {
            throw ExportSettingsError(problems: problems)
        }
        return ExportSettings(
            carrier: carrier, origin: endpoint.origin,
            target: own == nil ? endpoint.path + "/v1/traces" : endpoint.path.isEmpty ? "/" : endpoint.path,
            fields: fields.map { HTTPField($0.0.lowercased(), $0.1) }, timeout: timeout * 1_000_000,
            sampler: sampler, resource: resource.map { SpanAttribute($0.0, .text($0.1)) })
    }

    static func isField(_ name: String, _ value: String) -> Bool {
        let isTaken = [
            "host", "content-length", "content-type", "range", "transfer-encoding",
        ].contains(name.lowercased())
        return name.utf8.allSatisfy(HTTPField.isNameByte) && !isTaken
            && value.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F }
    }

    /// `key=value,key=value`, percent-encoded (W3C Baggage); nil when it is not.
    static func pairs(_ text: String) -> [(String, String)]? {
        guard text.utf8.count <= 8192 else { return nil }
        var pairs: [(String, String)] = []
        for member in text.split(separator: ",") {
            let parts = member.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2, let key = decoded(trimmed(parts[0])), !key.isEmpty,
                let value = decoded(trimmed(parts[1]))
            else { return nil }
            pairs.append((key, value))
        }
        return pairs.count <= 64 ? pairs : nil
    }

    static func trimmed(_ text: Substring) -> Substring {
        var text = text.drop { $0 == " " }
        while text.last == " " { text.removeLast() }
        return text
    }

    private static func decoded(_ text: Substring) -> String? {
        var bytes: [UInt8] = []
        var rest = text.utf8.makeIterator()
        while let byte = rest.next() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard let high = rest.next(), let low = rest.next(),
                let number = UInt8(String(decoding: [high, low], as: UTF8.self), radix: 16)
            else { return nil }
            bytes.append(number)
        }
        return String(validating: bytes, as: UTF8.self)
    }
}

/// What is wrong with the environment, all of it at once.
package struct ExportSettingsError: Error, Hashable, Sendable, CustomStringConvertible {
    package var problems: [String]
    package var description: String { problems.joined(separator: "\n") }
}

/// A base URL.
struct ExportEndpoint: Hashable {
    var origin: HTTPOrigin
    /// Without the last slash.
    var path: String

    init?(_ url: String) {
        guard url.utf8.count <= 2048 else { return nil }
        let isSecure: Bool
        var rest: Substring
        let lowered = url.lowercased()
        if lowered.hasPrefix("https://") {
            (isSecure, rest) = (true, url.dropFirst(8))
        } else if lowered.hasPrefix("http://") {
            (isSecure, rest) = (false, url.dropFirst(7))
        } else {
            return nil
        }
        guard rest.utf8.allSatisfy({ 0x21...0x7E ~= $0 }), !rest.contains(where: { "?#@\\".contains($0) })
        else {
            return nil
        }
        let authority = rest.prefix { $0 != "/" }
        rest = rest.dropFirst(authority.count)
        while rest.last == "/" { rest.removeLast() }
        path = String(rest)
        guard let (host, port) = Self.hostAndPort(authority) else { return nil }
        origin = HTTPOrigin(isSecure: isSecure, host: host.lowercased(), port: port)
        let request = HTTPRequest(.post, origin, path + "/")
        do throws(HTTPError) { try request.checkSendable() } catch { return nil }
    }

    private static func hostAndPort(_ authority: Substring) -> (String, UInt16?)? {
        var host = authority
        var port: UInt16?
        if authority.first == "[" {
            guard let end = authority.firstIndex(of: "]") else { return nil }
            host = authority[authority.index(after: authority.startIndex)..<end]
            let rest = authority[authority.index(after: end)...]
            if rest.isEmpty { return (String(host), nil) }
            guard rest.first == ":", let number = number(rest.dropFirst()) else { return nil }
            return (String(host), number)
        }
        if let colon = authority.firstIndex(of: ":") {
            guard let number = number(authority[authority.index(after: colon)...]) else { return nil }
            port = number
            host = authority[..<colon]
        }
        return host.isEmpty ? nil : (String(host), port)
    }

    private static func number(_ text: Substring) -> UInt16? {
        guard text.allSatisfy({ $0.isASCII && $0.isNumber }), let port = UInt16(text), port > 0 else {
            return nil
        }
        return port
    }
}
