import HTTPExchange
import ObjectStore

extension S3Failure {
    /// This failure in the words of object stores. `key` is as the store's caller knows it.
    func error(
        _ operation: ObjectStoreError.Operation, _ key: String, _ place: S3Location
    ) -> ObjectStoreError {
        let verdict = verdict(place)
        return ObjectStoreError(
            verdict.code, operation, key: key, location: place.description, detail: verdict.detail,
            advice: verdict.advice)
    }

    struct Verdict {
        var code: ObjectStoreError.Code
        var detail: String
        var advice: String?

        init(_ code: ObjectStoreError.Code, _ detail: String, _ advice: String? = nil) {
            self.code = code
            self.detail = detail
            self.advice = advice
        }
    }

    private func verdict(_ place: S3Location) -> Verdict {
        switch self {
        case .credentials(let error):
            return Verdict(error.isTemporary ? .unavailable : .permissionDenied, error.reason, error.advice)
        case .malformed(let what):
            return Verdict(
                .unavailable, "the answer of \(place.origin) makes no sense: \(what)",
                "check that the endpoint is an S3 server, and what stands between")
        case .http(let error): return Self.verdict(error)
        case .refused(let refusal): return refusal.verdict(place)
        }
    }

    private static func verdict(_ error: HTTPError) -> Verdict {
        let words = "\(error)".replacingSemicolons
        switch error.code {
        case .untrusted:
            return Verdict(
                .permissionDenied, words,
                "name the authority that signed the server's certificate with --ca-file or KAML_CA_FILE")
        case .unusable: return Verdict(.notSupported, words, "check the endpoint, the proxy and the CA file")
        case .refused:
            // Beside a change in the middle of a body this is what was asked again and again, to no avail.
            return error.status == 412 ? Verdict(.changed, words) : Verdict(.unavailable, words)
        case .cannotResolve, .cannotConnect, .timedOut, .connectionLost, .malformed, .unexpected, .cancelled:
            return Verdict(.unavailable, words, "check the endpoint and the network, then try again")
        }
    }
}

extension S3Refusal {
    fileprivate func verdict(_ place: S3Location) -> S3Failure.Verdict {
        switch code {
        case "NoSuchBucket":
            return .init(
                .notFound, "there is no bucket \(place.bucket) at \(place.endpoint?.description ?? "AWS")",
                "check its name and the endpoint, or make it: `kaml store init --make-bucket` does")
        case "SignatureDoesNotMatch":
            return .init(
                .permissionDenied, "\(words), with the credentials of \(origin)",
                "the secret key does not belong to the access key, or the region is wrong: check both")
        case "InvalidAccessKeyId", "InvalidToken", "InvalidClientTokenId":
            return .init(
                .permissionDenied, "\(words), to the credentials of \(origin)",
                "check that they are meant for this server")
        case "ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired":
            return .init(
                .permissionDenied, "the credentials of \(origin) have expired",
                "get new ones, then run it again")
        case "RequestTimeTooSkewed", "RequestExpired":
            return .init(.permissionDenied, words, "set this machine's clock: it differs from the server's")
        case "QuotaExceeded", "InsufficientStorage": return .init(.noSpace, words)
        case "BadDigest", "XAmzContentSHA256Mismatch", "IncompleteBody", "RequestTimeout":
            return .init(.unavailable, "\(words): the bytes were damaged on the way", "try again")
        case "OperationAborted", "ConditionalRequestConflict":
            return .init(.unavailable, words, "another writer was there at the same time: try again")
        default: return verdictByStatus(place)
        }
    }

    private func verdictByStatus(_ place: S3Location) -> S3Failure.Verdict {
        switch status {
        case 404: return .init(.notFound, code == nil || code == "NoSuchKey" ? "" : words)
        case 401, 403:
            let whose = credentials.map { "with the credentials of \($0)" } ?? "without credentials"
            return .init(
                .permissionDenied, "\(words), \(whose)",
                "check that they may list, read, write and delete in bucket \(place.bucket)")
        case 300..<400: return redirect(place)
        case 400 where region != nil && region != place.region: return redirect(place)
        case 412: return .init(.changed, words)
        case 416: return .init(.truncated, words)
        case 408, 429, 500, 502, 503, 504: return .init(.unavailable, words)
        case 507: return .init(.noSpace, words)
        case 501, 405: return .init(.notSupported, words, "this server lacks something that kaml needs")
        default: return .init(.notSupported, words, "check the endpoint, the bucket and the region")
        }
    }

    /// Never followed: the credentials are for the place that the user named.
    private func redirect(_ place: S3Location) -> S3Failure.Verdict {
        if let region, region != place.region {
            return .init(
                .notSupported, "bucket \(place.bucket) is in region \(region), not in \(place.region)",
                "give --region \(region), or set AWS_REGION")
        }
        let there = endpoint.map { ", and names the endpoint \($0)" } ?? ""
        return .init(
            .notSupported, "\(words)\(there); redirects are not followed".replacingSemicolons,
            "give the right --endpoint and --region")
    }

    private var origin: String { credentials ?? "nobody" }
}

extension String {
    /// In messages a semicolon stands before what to do.
    var replacingSemicolons: String { String(map { $0 == ";" ? "," : $0 }) }
}
