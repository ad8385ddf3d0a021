import Chunking
import ObjectStore

/// The log as a check reads it: on past damage, to see as much of the store as can be seen.
struct LogCheck {
    private(set) var state = LogState()
    private(set) var records: UInt64 = 0
    private(set) var damages: [CheckReport.Damage] = []

    /// Every snapshot that a readable record names: its datasets, and the branches and tags that stand there.
    private(set) var snapshots: [ContentHash: [Naming]] = [:]

    struct Naming: Hashable {
        var dataset: DatasetName
        var refs: [String]
    }

    /// `datasets`: only the snapshots of these; nil means all.
    init(_ store: any ObjectStore, datasets: Set<DatasetName>?) throws(StoreError) {
        var listed: [UInt64] = []
        do throws(ObjectStoreError) {
            try store.list(LogKey.prefix, after: nil) { info throws(ObjectStoreError) in
                if let sequence = LogKey.sequence(of: info.key), sequence > 0 { listed.append(sequence) }
                return true
            }
        } catch { throw StoreError(error) }
        // A key's number is anybody's word: it is compared, never counted up to.
        var next: UInt64 = 1
        for sequence in listed.sorted() where sequence >= next {
            if sequence > next { miss(next, through: sequence - 1) }
            try take(sequence, from: store)
            next = sequence &+ 1
            if next == 0 { break }
        }
        nameSnapshots(datasets)
    }

    private mutating func miss(_ first: UInt64, through last: UInt64) {
        guard let from = LogKey.of(first), let to = LogKey.of(last) else { return }
        var damage = CheckReport.Damage(
            .logRecord, from.text, first == last ? .missing : .missingThrough(to.text))
        damage.impact.isWholeStore = true
        damages.append(damage)
    }

    private mutating func take(_ sequence: UInt64, from store: any ObjectStore) throws(StoreError) {
        guard let key = LogKey.of(sequence) else { return }
        func hurt(_ problem: CheckReport.Problem) {
            var damage = CheckReport.Damage(.logRecord, key.text, problem)
            damage.impact.isWholeStore = true
            damages.append(damage)
        }
        let bytes: [UInt8]
        do throws(ObjectStoreError) {
            bytes = try store.readAll(key, limit: LogEnvelope.maximumBytes)
        } catch {
            if error.code == .unavailable { throw StoreError(error) }
            hurt(CheckReport.Problem(StoreError(error)))
            return
        }
        do throws(LogDamage) {
            let (record, hash) = try LogRecord.decoded(bytes)
            records += 1
            if record.sequence != sequence {
                hurt(.contradiction("is record \(record.sequence), in the wrong place"))
                return
            }
            // After a gap or a damaged record nothing can follow by its hash; that is reported there.
            if damages.isEmpty, record.previous != state.lastHash {
                hurt(.contradiction("does not follow the record before it"))
            }
            state.apply(record, hash: hash)
        } catch {
            hurt(error.needsNewerProgram ? .newerFormat("\(error)") : .corrupt("\(error)"))
        }
    }

    private mutating func nameSnapshots(_ datasets: Set<DatasetName>?) {
        var refs: [UInt64: [String]] = [:]
        for dataset in state.datasets.values {
            for (name, target) in dataset.branches { refs[target, default: []].append(name.text) }
            for (name, target) in dataset.tags { refs[target, default: []].append(name.text) }
        }
        for commit in state.commits.values.sorted(by: { $0.sequence < $1.sequence }) {
            if let datasets, !datasets.contains(commit.commit.dataset) { continue }
            let names = (refs[commit.sequence] ?? []).sorted()
            var namings = snapshots[commit.commit.snapshot] ?? []
            if let index = namings.firstIndex(where: { $0.dataset == commit.commit.dataset }) {
                namings[index].refs.append(contentsOf: names)
            } else {
                namings.append(Naming(dataset: commit.commit.dataset, refs: names))
            }
            snapshots[commit.commit.snapshot] = namings
        }
    }
}
