import Chunking
import DatasetStore
package import ObjectStore
import S3
import System

/// What `kaml doctor` says of a store.
package enum StoreExamination {
    /// `objects`: nil when none is named.
    package static func findings(_ objects: (any ObjectStore)?) -> [Finding] {
        guard let objects else {
            return [.warn("store", "none is named", remedy: "give --store, or set \(StorePlace.variable)")]
        }
        var findings = (objects as? S3ObjectStore).map(BucketExamination.findings) ?? []
        if findings.last?.verdict == .fail { return findings }
        let store: Store
        do { store = try Store.open(objects) } catch {
            return findings + [fail("store", error, "kaml store init")]
        }
        findings.append(
            .ok("store", "\(objects.location), format version \(store.configuration.formatVersion)"))
        if store.configuration.isSingleWriter {
            findings.append(
                .warn(
                    "writers", "the store is single-writer: two commits at once can lose one of them",
                    remedy: "let only one program write to it at a time"))
        }
        do {
            let state = try store.state()
            let datasets = CountText.of(UInt64(state.datasets.count), "dataset")
            findings.append(.ok("log", "\(CountText.of(state.sequence, "record")), \(datasets)"))
        } catch { findings.append(fail("log", error, "kaml check")) }
        findings.append(writing(objects))
        return findings
    }

    /// Whether a commit could write. What is begun here is never published, so nobody sees it.
    private static func writing(_ objects: any ObjectStore) -> Finding {
        do throws(ObjectStoreError) {
            let writer = try objects.makeWriter(PackFormat.key(of: PackID(random: HostRandom())))
            defer { writer.abandon() }
            try writer.append([0])
            return .ok("writing", "the store takes new objects")
        } catch {
            let failure = Failure(error)
            return .warn(
                "writing", failure.what,
                remedy: failure.hint ?? "commits need write access; mounts and exports do not")
        }
    }

    private static func fail(_ check: String, _ error: any Error, _ command: String) -> Finding {
        let failure = Failure(error)
        let detail = failure.why.map { "\(failure.what): \($0)" } ?? failure.what
        return .fail(check, detail, remedy: failure.hint ?? "try `\(command)`")
    }
}
