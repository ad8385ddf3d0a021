import Chunking

/// Why a change cannot follow a state: mostly because somebody else was faster.
package enum LogConflict: Error, Hashable, Sendable {
    /// A commit's parent is not the head of its branch (nil: the branch has no commit).
    case parentIsNotHead(DatasetName, RefName, parent: Commit.Parent?, head: Commit.Parent?)
    case branchExists(DatasetName, RefName)
    case tagExists(DatasetName, RefName)
    case noSuchBranch(DatasetName, RefName)
    case noSuchTag(DatasetName, RefName)
    /// A target is no commit of the dataset.
    case noSuchCommit(DatasetName, UInt64)
    /// A branch or tag moved since the writer looked.
    case refMoved(DatasetName, RefName, expected: UInt64, actual: UInt64)
}

extension LogState {
    /// Throws when `change` may not be the next one. The same rules make a writer stop and a reader skip.
    package func check(_ change: LogChange) throws(LogConflict) {
        switch change {
        case .commit(let commit): try check(commit)
        case .branch(let change): try check(change)
        case .tag(let change): try check(change)
        case .reset(let reset): try check(reset)
        }
    }

    private func check(_ commit: Commit) throws(LogConflict) {
        if datasets[commit.dataset]?.tags[commit.branch] != nil {
            throw .tagExists(commit.dataset, commit.branch)
        }
        let head = head(of: commit.branch, in: commit.dataset).map {
            Commit.Parent(sequence: $0.sequence, snapshot: $0.commit.snapshot)
        }
        guard commit.parent == head else {
            throw .parentIsNotHead(commit.dataset, commit.branch, parent: commit.parent, head: head)
        }
    }

    private func check(_ change: BranchChange) throws(LogConflict) {
        if change.isDeletion {
            try checkBranch(change.name, in: change.dataset, isAt: change.target)
        } else {
            try checkNameIsFree(change.name, in: change.dataset)
            try checkCommit(change.target, isIn: change.dataset)
        }
    }

    private func check(_ change: TagChange) throws(LogConflict) {
        if change.isDeletion {
            guard let target = datasets[change.dataset]?.tags[change.name] else {
                throw .noSuchTag(change.dataset, change.name)
            }
            guard target == change.target else {
                throw .refMoved(change.dataset, change.name, expected: change.target, actual: target)
            }
        } else {
            try checkNameIsFree(change.name, in: change.dataset)
            try checkCommit(change.target, isIn: change.dataset)
        }
    }

    private func check(_ reset: Reset) throws(LogConflict) {
        try checkBranch(reset.branch, in: reset.dataset, isAt: reset.previous)
        try checkCommit(reset.target, isIn: reset.dataset)
    }

    private func checkBranch(
        _ name: RefName, in dataset: DatasetName, isAt expected: UInt64
    ) throws(LogConflict) {
        guard let head = datasets[dataset]?.branches[name] else { throw .noSuchBranch(dataset, name) }
        guard head == expected else { throw .refMoved(dataset, name, expected: expected, actual: head) }
    }

    /// One name space for branches and tags, so that `dataset@name` has one meaning.
    private func checkNameIsFree(_ name: RefName, in dataset: DatasetName) throws(LogConflict) {
        if datasets[dataset]?.branches[name] != nil { throw .branchExists(dataset, name) }
        if datasets[dataset]?.tags[name] != nil { throw .tagExists(dataset, name) }
    }

    private func checkCommit(_ sequence: UInt64, isIn dataset: DatasetName) throws(LogConflict) {
        guard commits[sequence]?.commit.dataset == dataset else { throw .noSuchCommit(dataset, sequence) }
    }
}

extension LogConflict: CustomStringConvertible {
    package var description: String {
        switch self {
        case .parentIsNotHead(let dataset, let branch, let parent, let head):
            "\(dataset)@\(branch) is at \(Self.text(head)), but this commit follows \(Self.text(parent)): "
                + "somebody else committed meanwhile; run the commit again to build on theirs"
        case .branchExists(let dataset, let name):
            "\(dataset) has a branch \(name) already; choose another name, or delete or reset that branch"
        case .tagExists(let dataset, let name):
            "\(dataset) has a tag \(name) already, and tags never move; choose another name, or delete it first"
        case .noSuchBranch(let dataset, let name): "\(dataset) has no branch \(name); `kaml branch \(dataset)` lists them"
        case .noSuchTag(let dataset, let name): "\(dataset) has no tag \(name); `kaml tag \(dataset)` lists them"
        case .noSuchCommit(let dataset, let sequence):
            "log record \(sequence) is no commit of \(dataset); `kaml log \(dataset)` lists them"
        case .refMoved(let dataset, let name, let expected, let actual):
            "\(dataset)@\(name) is at log record \(actual), not at \(expected) as it was: "
                + "somebody else moved it; look at it and run the command again"
        }
    }

    private static func text(_ commit: Commit.Parent?) -> String {
        guard let commit else { return "no commit" }
        return "\(commit.snapshot.hex.prefix(12)) (log record \(commit.sequence))"
    }
}
