import HTTPExchange
package import ObjectStore

/// What a server does with `If-None-Match: *` on a PUT.
package enum ConditionalPutFinding: String, Hashable, Sendable {
    /// The second PUT of a key is refused: many writers are safe.
    case honoured
    /// The second PUT replaces the first.
    case ignored
    /// Such a PUT is not done at all.
    case refused
}

extension S3ObjectStore {
    /// Finds out by two small objects under a random key, which is removed again.
    package func probeConditionalPut() throws(ObjectStoreError) -> ConditionalPutFinding {
        let id = newWriteID()
        let key = ObjectKey(trusted: "probe-\(id)")
        defer { try? delete(key) }
        do throws(S3Failure) {
            do throws(S3Failure) { try probe(key, "first") } catch {
                // 501 is what Swift's s3api says; others say that they do not know the header.
                if error.status == 501 || error.code == "NotImplemented" || error.code == "InvalidArgument" {
                    return .refused
                }
                // Its own first answer was lost, and the repetition refused.
                guard error.status == 412 else { throw error }
                return .honoured
            }
            do throws(S3Failure) { try probe(key, "second") } catch {
                guard error.status == 412 || error.status == 409 else { throw error }
                return .honoured
            }
            return .ignored
        } catch {
            throw failure(error, .create, key)
        }
    }

    private func probe(_ key: ObjectKey, _ text: String) throws(S3Failure) {
        try bucket.service.send(
            bucket.request(
                .put, key.text.utf8, fields: [HTTPField("if-none-match", "*")],
                body: .bytes(Array(text.utf8)),
                isRepeatable: true))
    }
}
