import ObjectStore
package import S3

/// What `kaml doctor` says of a bucket and the way to it.
package enum BucketExamination {
    /// Seconds that clocks may differ before signatures come near to being refused (15 minutes is S3's own limit).
    private static let tolerableSkew: Int64 = 300

    /// A failure comes last: what would be asked after it cannot be known.
    package static func findings(_ store: S3ObjectStore) -> [Finding] {
        let found: S3Examination
        do throws(ObjectStoreError) { found = try store.examine() } catch {
            let failure = Failure(error)
            let detail = failure.why.map { "\(failure.what): \($0)" } ?? failure.what
            return [.fail("bucket", detail, remedy: failure.hint ?? "check the endpoint and the credentials")]
        }
        var findings = [
            Finding.ok("bucket", "\(store.place.bucket) answers at \(found.origin)"),
            .ok("credentials", found.credentials.map { "from \($0)" } ?? "none: requests are anonymous"),
        ]
        if let skew = found.clockSkew { findings.append(clock(skew)) }
        findings.append(conditionalPut(store))
        findings.append(
            .ok(
                "versions",
                found.keepsVersions
                    ? "the bucket keeps old versions, so imports outlive changes"
                    : "the bucket keeps no old versions: an imported object that is changed cannot be read"))
        return findings
    }

    private static func clock(_ skew: Int64) -> Finding {
        guard skew.magnitude > tolerableSkew.magnitude else {
            return .ok("server clock", "\(skew.magnitude) s from this machine's")
        }
        return .warn(
            "server clock", "\(skew.magnitude) s \(skew > 0 ? "ahead of" : "behind") this machine's",
            remedy: "set this machine's clock, with NTP")
    }

    private static func conditionalPut(_ store: S3ObjectStore) -> Finding {
        let finding: ConditionalPutFinding
        do throws(ObjectStoreError) { finding = try store.probeConditionalPut() } catch {
            let failure = Failure(error)
            return .warn(
                "conditional put", failure.why.map { "\(failure.what): \($0)" } ?? failure.what,
                remedy: "commits need write access; mounts and exports do not")
        }
        switch finding {
        case .honoured: return .ok("conditional put", "the server honours If-None-Match: many may write")
        case .ignored, .refused:
            let how = finding == .ignored ? "ignores" : "refuses"
            return .warn(
                "conditional put", "the server \(how) If-None-Match: two commits at once can lose one",
                remedy: "let only one program write to this store at a time")
        }
    }
}
