import Chunking
import HTTPExchange

/// AWS Signature Version 4: a pure function of the request, the key and the time.
///
/// S3's variant: the path is signed as it is sent, encoded once.
struct SigV4: Hashable {
    var region: String
    var service = "s3"

    static let algorithm = "AWS4-HMAC-SHA256"

    /// The key of a day; the same for every request of it.
    func signingKey(_ secret: Secret, date: String) -> [UInt8] {
        let key = secret.revealed { Array("AWS4".utf8) + Array($0.utf8) }
        return [date, region, service, "aws4_request"].reduce(key) { SHA256.hmac($0, $1.utf8) }
    }

    func scope(date: String) -> String { "\(date)/\(region)/\(service)/aws4_request" }

    /// The value of the `authorization` field. `fields` are all that is signed, `host` and `range` among them.
    func authorization(
        _ method: HTTPMethod, target: String, fields: [HTTPField], payloadHash: String, time: CivilTime,
        accessKey: Secret, signingKey: [UInt8]
    ) -> String {
        let canonical = Self.canonicalRequest(method, target, fields, payloadHash)
        let scope = scope(date: time.basicDate)
        let text = [Self.algorithm, time.basic, scope, SHA256.hex(Array(canonical.text.utf8))]
            .joined(separator: "\n")
        let signature = Hex.encode(SHA256.hmac(signingKey, text.utf8))
        let key = accessKey.revealed { $0 }
        return "\(Self.algorithm) Credential=\(key)/\(scope), SignedHeaders=\(canonical.signedFields), "
            + "Signature=\(signature)"
    }

    static func canonicalRequest(
        _ method: HTTPMethod, _ target: String, _ fields: [HTTPField], _ payloadHash: String
    ) -> (text: String, signedFields: String) {
        let parts = target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        let fields = fields.sorted { $0.name < $1.name }
        let names = fields.map(\.name).joined(separator: ";")
        let lines = fields.map { "\($0.name):\(trimmed($0.value))\n" }.joined()
        let query = parts.count > 1 ? canonicalQuery(parts[1]) : ""
        let text = [method.rawValue, String(parts[0]), query, lines, names, payloadHash].joined(
            separator: "\n")
        return (text, names)
    }

    /// Sorted by name, then value; a name alone has an empty value.
    private static func canonicalQuery(_ query: Substring) -> String {
        query.split(separator: "&").map { $0.contains("=") ? String($0) : "\($0)=" }
            .map { pair in pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false) }
            .sorted { ($0[0], $0[1]) < ($1[0], $1[1]) }
            .map { "\($0[0])=\($0[1])" }.joined(separator: "&")
    }

    /// Without blanks at the ends, and with one for each run of them.
    private static func trimmed(_ value: String) -> String {
        value.split(separator: " ", omittingEmptySubsequences: true).joined(separator: " ")
    }
}
