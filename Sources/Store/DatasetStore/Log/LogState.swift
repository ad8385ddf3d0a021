package import Chunking

/// A commit with its record's number, time and author.
package struct LoggedCommit: Hashable, Sendable {
    package var record: LogRecord
    package var commit: Commit

    package var sequence: UInt64 { record.sequence }
}

/// The names of one dataset.
package struct DatasetState: Hashable, Sendable {
    /// Heads: the records of commits.
    package internal(set) var branches: [RefName: UInt64] = [:]
    package internal(set) var tags: [RefName: UInt64] = [:]
    /// The records of all its commits, ascending; those that no name reaches any more, too.
    package internal(set) var commits: [UInt64] = []
}

/// What a store's log says after some number of records.
///
/// A pure value: records go in one by one, every reader that applies the same records holds the same state.
/// A record that breaks a rule is void: it changes nothing but the number, for every reader alike, so that
/// one bad writer cannot make a store unreadable.
package struct LogState: Hashable, Sendable {
    /// A record that was skipped, and why.
    package struct VoidRecord: Hashable, Sendable {
        package var sequence: UInt64
        package var reason: LogConflict
    }

    /// The number of the last record; 0 before the first.
    package private(set) var sequence: UInt64 = 0
    /// The hash of the last record.
    package private(set) var lastHash: ContentHash?
    package private(set) var datasets: [DatasetName: DatasetState] = [:]
    package private(set) var commits: [UInt64: LoggedCommit] = [:]
    package private(set) var voidRecords: [VoidRecord] = []

    package init() {}

    /// Takes the next record, whose hash is `hash`. The caller has checked that it is the next.
    package mutating func apply(_ record: LogRecord, hash: ContentHash) {
        sequence = record.sequence
        lastHash = hash
        do throws(LogConflict) {
            try check(record.change)
        } catch {
            voidRecords.append(VoidRecord(sequence: record.sequence, reason: error))
            return
        }
        perform(record)
    }

    private mutating func perform(_ record: LogRecord) {
        var dataset = datasets[record.change.dataset] ?? DatasetState()
        switch record.change {
        case .commit(let commit):
            commits[record.sequence] = LoggedCommit(record: record, commit: commit)
            dataset.commits.append(record.sequence)
            dataset.branches[commit.branch] = record.sequence
        case .branch(let change):
            dataset.branches[change.name] = change.isDeletion ? nil : change.target
        case .tag(let change):
            dataset.tags[change.name] = change.isDeletion ? nil : change.target
        case .reset(let reset):
            dataset.branches[reset.branch] = reset.target
        }
        datasets[record.change.dataset] = dataset
    }

    /// The commit at the head of a branch.
    package func head(of branch: RefName, in dataset: DatasetName) -> LoggedCommit? {
        datasets[dataset]?.branches[branch].flatMap { commits[$0] }
    }

    /// The commit that `count` steps up the parents leads to; nil where there are fewer.
    package func ancestor(of commit: LoggedCommit, _ count: UInt64) -> LoggedCommit? {
        var found = commit
        // Each parent has a smaller number, so this ends however large `count` is.
        for _ in 0..<count {
            guard let parent = found.commit.parent, let next = commits[parent.sequence] else { return nil }
            found = next
        }
        return found
    }
}
