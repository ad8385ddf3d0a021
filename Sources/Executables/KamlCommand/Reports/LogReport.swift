import Chunking
package import DatasetStore

/// Ids for people: long enough to be one of a kind in any store that people have.
enum ShortID {
    static func of(_ id: ContentHash) -> String { String(id.hex.prefix(12)) }
}

/// The commits of a branch, newest first.
package struct LogReport: Report {
    private let dataset: DatasetName
    private let commits: [LoggedCommit]
    private let refs: [UInt64: [String]]

    /// `limit`: at most so many.
    package init(of start: LoggedCommit, in state: LogState, limit: Int? = nil) {
        dataset = start.commit.dataset
        var commits: [LoggedCommit] = []
        var next: LoggedCommit? = start
        while let commit = next, commits.count < limit ?? Int.max {
            commits.append(commit)
            next = commit.commit.parent.flatMap { state.commits[$0.sequence] }
        }
        self.commits = commits
        refs = state.refs(of: dataset)
    }

    package var value: OutputValue {
        [
            "dataset": .string(dataset.text),
            "commits": .list(commits.map { Self.value($0, refs: refs[$0.sequence] ?? []) }),
        ]
    }

    static func value(_ logged: LoggedCommit, refs: [String]) -> OutputValue {
        let commit = logged.commit
        var object = OutputObject([
            "sequence": .unsigned(logged.sequence), "snapshot": .string(commit.snapshot.hex),
            "time": .time(logged.record.time), "author": .string(logged.record.author),
            "message": .string(commit.message), "branch": .string(commit.branch.text),
            "files": .unsigned(commit.files), "bytes": .unsigned(commit.bytes),
            "newBytes": .unsigned(commit.newBytes), "storedBytes": .unsigned(commit.storedBytes),
            "refs": .list(refs.map(OutputValue.string)),
            "metadata": .object(commit.metadata.mapValues(OutputValue.string)),
        ])
        object["parent"] = commit.parent.map { .string($0.snapshot.hex) }
        return object.value
    }

    package func render() -> String {
        var table = Table([
            .init("SNAPSHOT"), .init("TIME"), .init("AUTHOR"), .init("FILES", .right), .init("BYTES", .right),
            .init("STORED", .right), .init("REFS"), .init("MESSAGE"),
        ])
        for logged in commits {
            let commit = logged.commit
            table.add([
                ShortID.of(commit.snapshot), TimeText.local(logged.record.time), logged.record.author,
                CountText.of(commit.files), BytesText.of(commit.bytes), BytesText.of(commit.storedBytes),
                (refs[logged.sequence] ?? []).joined(separator: ","), commit.message,
            ])
        }
        return table.render()
    }
}

extension LogState {
    /// Branches and tags by the commit they stand at, sorted.
    package func refs(of dataset: DatasetName) -> [UInt64: [String]] {
        guard let names = datasets[dataset] else { return [:] }
        var refs: [UInt64: [String]] = [:]
        for (name, target) in names.branches { refs[target, default: []].append(name.text) }
        for (name, target) in names.tags { refs[target, default: []].append(name.text) }
        return refs.mapValues { $0.sorted() }
    }
}
