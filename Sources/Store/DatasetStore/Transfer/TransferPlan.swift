package import Chunking
package import System

/// A commit as it goes from store to store: all but its number and its parent's, which each store gives anew.
package struct MovedCommit: Hashable, Sendable {
    /// What makes two commits of two stores the same one.
    package struct Identity: Hashable, Sendable {
        package var snapshot: ContentHash
        /// To the nanosecond, and kept by every move: two commits of one tree differ in it.
        package var time: Timestamp

        package init(_ logged: LoggedCommit) {
            snapshot = logged.commit.snapshot
            time = logged.record.time
        }
    }

    package let identity: Identity
    package let author: String
    /// As in the store it comes from.
    let commit: Commit

    package init(_ logged: LoggedCommit) {
        identity = Identity(logged)
        author = logged.record.author
        commit = logged.commit
    }

    package var snapshot: ContentHash { identity.snapshot }
}

/// Which records a target's log needs so that a branch of it ends in a commit of another store.
///
/// Pure: the same plan is asked again after each record, of a state in which others may have written too. So it
/// can stop anywhere and be made anew.
package struct TransferPlan: Sendable {
    /// In the target.
    package let dataset: DatasetName
    package let branch: RefName
    /// The history that the branch is to have, the oldest first, the wanted commit last. Never empty.
    package let commits: [MovedCommit]
    /// How many of the commits that are missing in the target go there at most, the newest.
    package let depth: Int
    private let indices: [MovedCommit.Identity: Int]

    package init(
        dataset: DatasetName, branch: RefName, history: [MovedCommit], depth: Int? = nil
    ) {
        self.dataset = dataset
        self.branch = branch
        commits = history
        self.depth = max(1, depth ?? .max)
        indices = Dictionary(history.enumerated().map { ($1.identity, $0) }, uniquingKeysWith: { $1 })
    }

    package enum Step: Sendable {
        case record(RecordLog.Proposal)
        /// The branch has the wanted commit, and `ahead` commits more.
        case done(ahead: UInt64)
        /// The branch has commits that are no ancestors of the wanted one.
        case diverged(head: LoggedCommit)
    }

    /// The next record for a log in this state.
    package func step(in state: LogState) -> Step {
        let head = state.head(of: branch, in: dataset)
        switch standing(of: head, in: state) {
        case .ahead(let count): return .done(ahead: count)
        case .elsewhere(let head): return .diverged(head: head)
        case .at(let index):
            guard index < commits.count - 1 else { return .done(ahead: 0) }
            if let known = lastKnown(after: index, in: state) {
                return .record(.init(move(from: head, to: known.sequence)))
            }
            return .record(proposal(next(after: index), head))
        }
    }

    /// The commits whose objects the target must have before it can take the records; empty when there are none to
    /// come, or the branches have diverged.
    package func missing(in state: LogState) -> ArraySlice<MovedCommit> {
        guard case .at(let index) = standing(of: state.head(of: branch, in: dataset), in: state) else {
            return []
        }
        let start = lastKnown(after: index, in: state)?.index ?? index
        return start < commits.count - 1 ? commits[next(after: start)...] : []
    }

    /// The newest commit of the history that the target's branch has or will be moved to; nil when it has none.
    package func newestKnown(in state: LogState) -> MovedCommit? {
        guard case .at(let index) = standing(of: state.head(of: branch, in: dataset), in: state) else {
            return nil
        }
        let known = lastKnown(after: index, in: state)?.index ?? index
        return known >= 0 ? commits[known] : nil
    }

    // MARK: - Where the target's branch stands

    private enum Standing {
        /// At this commit of the history; -1 when it has none.
        case at(Int)
        case ahead(UInt64)
        case elsewhere(LoggedCommit)
    }

    private func standing(of head: LoggedCommit?, in state: LogState) -> Standing {
        guard let head else { return .at(-1) }
        if let index = indices[.init(head)] { return .at(index) }
        if let count = steps(from: head, in: state) { return .ahead(count) }
        // Not the same commit, but the same contents: nothing is lost by going on from there.
        if let index = commits.lastIndex(where: { $0.snapshot == head.commit.snapshot }) { return .at(index) }
        return .elsewhere(head)
    }

    /// How many commits `head` is after the wanted one; nil when that is no ancestor of it.
    private func steps(from head: LoggedCommit, in state: LogState) -> UInt64? {
        let wanted = commits.last?.identity
        var count: UInt64 = 0
        var current = head
        while let parent = current.commit.parent, let next = state.commits[parent.sequence] {
            count &+= 1
            if MovedCommit.Identity(next) == wanted { return count }
            current = next
        }
        return nil
    }

    /// The newest commit of the history that another branch brought into the target, and to which this branch can be
    /// moved without losing what it has.
    private func lastKnown(after index: Int, in state: LogState) -> (index: Int, sequence: UInt64)? {
        let head = state.head(of: branch, in: dataset)
        var found: (index: Int, sequence: UInt64)?
        for sequence in state.datasets[dataset]?.commits ?? [] {
            guard let logged = state.commits[sequence], let other = indices[.init(logged)], other > index,
                other > found?.index ?? -1, head.map({ state.isAncestor($0, of: logged) }) ?? true
            else { continue }
            found = (other, sequence)
        }
        return found
    }

    private func next(after index: Int) -> Int {
        max(index + 1, commits.count - min(depth, commits.count))
    }

    // MARK: - Records

    private func move(from head: LoggedCommit?, to target: UInt64) -> LogChange {
        guard let head else { return .branch(BranchChange(dataset: dataset, name: branch, target: target)) }
        return .reset(Reset(dataset: dataset, branch: branch, target: target, previous: head.sequence))
    }

    private func proposal(_ index: Int, _ head: LoggedCommit?) -> RecordLog.Proposal {
        let moved = commits[index]
        var commit = moved.commit
        commit.dataset = dataset
        commit.branch = branch
        commit.parent = head.map { .init(sequence: $0.sequence, snapshot: $0.commit.snapshot) }
        return .init(.commit(commit), origin: .init(time: moved.identity.time, author: moved.author))
    }
}

/// A tag on its way into another store.
package struct MovedTag: Hashable, Sendable {
    package var name: RefName
    package var commit: MovedCommit.Identity

    package init(name: RefName, commit: MovedCommit.Identity) {
        self.name = name
        self.commit = commit
    }

    package enum Step: Hashable, Sendable {
        case record(TagChange)
        case done
        /// The target's dataset has a branch, or a tag of another snapshot, of this name.
        case taken
        /// The commit is not in the target's dataset.
        case absent
    }

    package func step(in state: LogState, dataset: DatasetName) -> Step {
        guard let names = state.datasets[dataset] else { return .absent }
        if let sequence = names.tags[name] {
            return state.commits[sequence]?.commit.snapshot == commit.snapshot ? .done : .taken
        }
        if names.branches[name] != nil { return .taken }
        let target = names.commits.last { sequence in
            state.commits[sequence].map { MovedCommit.Identity($0) == commit } ?? false
        }
        return target.map { .record(TagChange(dataset: dataset, name: name, target: $0)) } ?? .absent
    }
}

extension LogState {
    fileprivate func isAncestor(_ commit: LoggedCommit, of other: LoggedCommit) -> Bool {
        var current = other
        // Parents' numbers fall.
        while current.sequence > commit.sequence, let parent = current.commit.parent,
            let next = commits[parent.sequence]
        {
            current = next
        }
        return current.sequence == commit.sequence
    }

    /// A commit and all before it, the oldest first.
    package func history(of commit: LoggedCommit) -> [LoggedCommit] {
        var history = [commit]
        var current = commit
        // Each parent has a smaller number, so this ends.
        while let parent = current.commit.parent, let next = commits[parent.sequence] {
            history.append(next)
            current = next
        }
        return history.reversed()
    }
}
