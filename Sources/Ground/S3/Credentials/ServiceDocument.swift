import FoundationEssentials

/// The JSON in which containers' and instances' services hand credentials over.
enum ServiceDocument {
    private struct Document: Decodable {
        var accessKey: String
        var secretKey: String
        var token: String?
        var expiration: String?

        enum CodingKeys: String, CodingKey {
            case accessKey = "AccessKeyId"
            case secretKey = "SecretAccessKey"
            case token = "Token"
            case expiration = "Expiration"
        }
    }

    /// Nil for anything else.
    static func credentials(_ bytes: [UInt8], _ origin: String) -> S3Credentials? {
        guard let document = try? JSONDecoder().decode(Document.self, from: Data(bytes)) else { return nil }
        var expires: Int64?
        if let text = document.expiration {
            guard let (time, _) = CivilTime.parseISO(Array(text.utf8)) else { return nil }
            expires = time.secondsSinceEpoch
        }
        return S3Credentials(
            accessKey: document.accessKey, secretKey: document.secretKey,
            sessionToken: document.token, expires: expires, origin: origin)
    }
}
