import Chunking

extension SnapshotReference {
    /// Candidates that a message lists at most.
    private static let candidateLimit = 8

    /// Finds the snapshot. A branch or tag goes before an id that starts with the same digits.
    package func resolve(in state: LogState) throws(SnapshotReferenceError) -> ResolvedSnapshot {
        guard let names = state.datasets[dataset] else {
            throw .noSuchDataset(dataset, close: CloseNames.of(dataset.text, among: state.datasets.keys.map(\.text)))
        }
        let named = names.branches[name] ?? names.tags[name]
        let sequence: UInt64
        if let named { sequence = named } else { sequence = try commit(withPrefixIn: names, of: state) }
        guard let start = state.commits[sequence] else { throw noSuchName(names) }
        guard let found = state.ancestor(of: start, stepsBack) else {
            throw .tooFewAncestors(self, available: state.ancestorCount(of: start))
        }
        return ResolvedSnapshot(
            dataset: dataset, snapshot: found.commit.snapshot, sequence: found.sequence,
            refName: named != nil && stepsBack == 0 ? name : nil)
    }

    /// The newest commit of the one snapshot whose id starts with `name`.
    private func commit(
        withPrefixIn names: DatasetState, of state: LogState
    ) throws(SnapshotReferenceError) -> UInt64 {
        let prefix = name.text.lowercased()
        guard prefix.utf8.count >= Self.minimumPrefixDigits, prefix.utf8.count <= 2 * ContentHash.byteCount,
            prefix.utf8.allSatisfy(Self.isHexDigit)
        else { throw noSuchName(names) }
        var found: [ContentHash: UInt64] = [:]
        for sequence in names.commits {
            guard let snapshot = state.commits[sequence]?.commit.snapshot, snapshot.hex.hasPrefix(prefix) else { continue }
            found[snapshot] = sequence
        }
        if found.count > 1 {
            let ids = found.keys.sorted().prefix(Self.candidateLimit).map(\.hex)
            throw .ambiguous(self, candidates: ids)
        }
        guard let sequence = found.values.first else { throw noSuchName(names) }
        return sequence
    }

    private func noSuchName(_ names: DatasetState) -> SnapshotReferenceError {
        let all = (Array(names.branches.keys) + Array(names.tags.keys)).map(\.text)
        return .noSuchName(self, close: CloseNames.of(name.text, among: all))
    }

    private static func isHexDigit(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "f"): true
        default: false
        }
    }
}

extension LogState {
    /// How many commits come before one.
    fileprivate func ancestorCount(of commit: LoggedCommit) -> UInt64 {
        var count: UInt64 = 0
        var current = commit
        while let parent = current.commit.parent, let next = commits[parent.sequence] {
            count &+= 1
            current = next
        }
        return count
    }
}
