package import HTTPExchange
package import System

/// A bucket, or the part of one below a prefix, and how it is reached.
package struct S3Location: Hashable, Sendable {
    /// How a request names its bucket.
    package enum Style: String, Hashable, Sendable, CaseIterable {
        /// `https://host/bucket/key`
        case path
        /// `https://bucket.host/key`
        case virtual
    }

    package var bucket: String
    /// Empty, or bytes that end in a slash. Any bytes: keys of S3 have no alphabet.
    package var prefix: ByteString
    /// Nil for AWS.
    package var endpoint: HTTPOrigin?
    package var region: String
    package var style: Style

    package static let defaultRegion = "us-east-1"
    /// Bytes of a key, as S3 counts them.
    package static let maximumKeyBytes = 1024

    /// Where requests go.
    package var origin: HTTPOrigin {
        var origin = endpoint ?? Self.awsOrigin(region)
        if style == .virtual { origin.host = "\(bucket).\(origin.host)" }
        return origin
    }

    /// AWS's own endpoint of a region.
    package static func awsOrigin(_ region: String, service: String = "s3") -> HTTPOrigin {
        let domain = region.hasPrefix("cn-") ? "amazonaws.com.cn" : "amazonaws.com"
        return HTTPOrigin(isSecure: true, host: "\(service).\(region).\(domain)")
    }

    /// The path of a request on the bucket itself, encoded.
    var bucketPath: String { style == .path ? "/\(bucket)" : "/" }

    /// The path of a request on an object, encoded as it is sent and signed. `key` comes after the prefix.
    func path(of key: some Sequence<UInt8>) -> String {
        let encoded = PercentCoding.encode(prefix.bytes + Array(key), keeping: UInt8(ascii: "/"))
        return style == .path ? "/\(bucket)/\(encoded)" : "/\(encoded)"
    }
}

extension S3Location: CustomStringConvertible {
    /// A URL that says all, so that it names the same objects in every process; no secrets.
    package var description: String {
        var text = "s3://\(bucket)"
        if !prefix.isEmpty {
            text += "/" + PercentCoding.encode(prefix.bytes.dropLast(), keeping: UInt8(ascii: "/"))
        }
        var query: [String] = []
        if let endpoint { query.append("endpoint=\(endpoint)") }
        if region != Self.defaultRegion { query.append("region=\(region)") }
        if style != Self.defaultStyle(endpoint: endpoint, bucket: bucket) {
            query.append("style=\(style.rawValue)")
        }
        return query.isEmpty ? text : text + "?" + query.joined(separator: "&")
    }

    /// AWS wants the bucket in the host name; its certificate does not cover a bucket with dots. Own servers seldom have
    /// a wildcard name.
    static func defaultStyle(endpoint: HTTPOrigin?, bucket: String) -> Style {
        endpoint == nil && !bucket.contains(".") ? .virtual : .path
    }
}
