package import HTTPExchange
package import ObjectStore
import System

extension S3Location {
    /// Parses `s3://bucket/prefix?endpoint=https://host:port&region=name&style=path|virtual`. What the URL does not say
    /// is taken from `settings`, which are complete.
    ///
    /// In the prefix `%XX` stands for a byte, so a `%` or a `?` of its own is written `%25` or `%3F`.
    package init(_ text: String, _ settings: S3Settings) throws(ObjectStoreURLError) {
        // Also refuses credentials, without repeating them.
        guard case .bucket = try ObjectStoreURL(text, workingDirectory: "/") else {
            throw ObjectStoreURLError(text, "it does not begin with s3://")
        }
        let rest = text.utf8.dropFirst(5)
        let question = rest.firstIndex(of: UInt8(ascii: "?")) ?? rest.endIndex
        let slash = rest[..<question].firstIndex(of: UInt8(ascii: "/")) ?? question
        let bucket = String(decoding: rest[..<slash], as: UTF8.self)
        guard Self.isBucketName(bucket) else {
            throw ObjectStoreURLError(
                text,
                "a bucket has 3 to 63 bytes of a-z 0-9 . and -, and begins and ends with a letter or digit")
        }
        guard let prefix = PercentCoding.decode(Array(rest[slash..<question])) else {
            throw ObjectStoreURLError(text, "a % in the prefix must be followed by two hexadecimal digits")
        }
        let query = try Self.query(Array(rest[question...].dropFirst()), text)

        var endpoint: HTTPOrigin?
        if let typed = query["endpoint"] {
            endpoint = try Self.endpoint(typed)
        } else if let set = settings.endpoint {
            do throws(ObjectStoreURLError) { endpoint = try Self.endpoint(set) } catch {
                throw ObjectStoreURLError(error.text, error.reason, setting: settings.endpointSource)
            }
        }
        let region = query["region"] ?? settings.region ?? Self.defaultRegion
        guard Self.isRegionName(region) else {
            throw ObjectStoreURLError(text, "\"\(region)\" is no region, which is like eu-central-1")
        }
        if let typed = query["style"], Style(rawValue: typed) == nil {
            throw ObjectStoreURLError(text, "style is path or virtual")
        }
        self.init(
            bucket: bucket, prefix: Self.folder(prefix), endpoint: endpoint, region: region,
            style: query["style"].flatMap(Style.init) ?? settings.style
                ?? Self.defaultStyle(endpoint: endpoint, bucket: bucket))
        guard self.prefix.count < Self.maximumKeyBytes else {
            throw ObjectStoreURLError(text, "a key of S3 has at most \(Self.maximumKeyBytes) bytes")
        }
    }

    /// The origin of an endpoint as a user types it.
    package static func endpoint(_ text: String) throws(ObjectStoreURLError) -> HTTPOrigin {
        guard !text.utf8.contains(UInt8(ascii: "@")) else {
            throw ObjectStoreURLError("...@...", "credentials do not belong in an endpoint")
        }
        guard let address = HTTPAddress(text), address.target == "/" else {
            throw ObjectStoreURLError(text, "an endpoint is like https://host:port, without a path")
        }
        return address.origin
    }

    private static func query(
        _ bytes: [UInt8], _ text: String
    ) throws(ObjectStoreURLError) -> [String: String] {
        var query: [String: String] = [:]
        for pair in bytes.split(separator: UInt8(ascii: "&")) {
            let equals = pair.firstIndex(of: UInt8(ascii: "=")) ?? pair.endIndex
            let name = String(decoding: pair[..<equals], as: UTF8.self)
            guard ["endpoint", "region", "style"].contains(name), query[name] == nil,
                let value = PercentCoding.decode(Array(pair[equals...].dropFirst())), !value.isEmpty
            else {
                throw ObjectStoreURLError(
                    text, "after the ? may stand endpoint=, region= and style=, each once, joined by &")
            }
            query[name] = String(decoding: value, as: UTF8.self)
        }
        return query
    }

    /// Without the slash after the bucket, and with one at the end.
    private static func folder(_ path: [UInt8]) -> ByteString {
        let slash = UInt8(ascii: "/")
        var bytes = Array(path.dropFirst())
        while bytes.last == slash { bytes.removeLast() }
        return ByteString(bytes.isEmpty ? [] : bytes + [slash])
    }

    /// S3's own rule; older buckets of us-east-1 that break it cannot be reached in virtual style anyway.
    private static func isBucketName(_ name: String) -> Bool {
        let bytes = Array(name.utf8)
        guard (3...63).contains(bytes.count), let first = bytes.first, let last = bytes.last,
            isLetterOrDigit(first), isLetterOrDigit(last)
        else { return false }
        return !name.contains("..")
            && bytes.allSatisfy {
                isLetterOrDigit($0) || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: ".")
            }
    }

    static func isRegionName(_ name: String) -> Bool {
        (1...63).contains(name.utf8.count)
            && name.utf8.allSatisfy { isLetterOrDigit($0) || $0 == UInt8(ascii: "-") }
    }

    private static func isLetterOrDigit(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
        default: false
        }
    }
}
