import Chunking
import DatasetStore
import Testing

@Suite("The state of a log")
struct LogStateTests {
    /// main at record 2, after 1.
    private func twoCommits() -> LogState {
        var state = LogState()
        state.add(state.nextCommit(snapshot(0xA1)))
        state.add(state.nextCommit(snapshot(0xA2)))
        return state
    }

    private func refuses(_ change: LogChange, _ conflict: LogConflict, in state: LogState) {
        #expect(throws: conflict) { try state.check(change) }
        // A reader skips what a writer must not write.
        var after = state
        after.add(change)
        #expect(after.datasets == state.datasets)
        #expect(after.commits == state.commits)
        #expect(after.sequence == state.sequence + 1)
        #expect(after.voidRecords.map(\.reason) == [conflict])
    }

    @Test("begins a dataset and its branch with the first commit")
    func firstCommit() {
        var state = LogState()
        state.add(state.nextCommit(snapshot(0xA1)))
        #expect(state.head(of: .main, in: dataset())?.commit.snapshot == snapshot(0xA1))
        #expect(state.datasets.keys.sorted() == [dataset()])
    }

    @Test("takes a commit only onto the head of its branch, and names both when it is not")
    func staleCommit() {
        let state = twoCommits()
        let head = Commit.Parent(sequence: 2, snapshot: snapshot(0xA2))
        for parent in [
            nil, Commit.Parent(sequence: 1, snapshot: snapshot(0xA1)),
            Commit.Parent(sequence: 2, snapshot: snapshot(0xA1)),
            Commit.Parent(sequence: 9, snapshot: snapshot(0xA2)),
        ] {
            let commit = Commit(dataset: dataset(), branch: .main, snapshot: snapshot(0xA3), parent: parent)
            refuses(
                .commit(commit), .parentIsNotHead(dataset(), .main, parent: parent, head: head), in: state)
        }
        let orphan = Commit(dataset: dataset(), branch: ref("dev"), snapshot: snapshot(0xA3), parent: head)
        refuses(.commit(orphan), .parentIsNotHead(dataset(), ref("dev"), parent: head, head: nil), in: state)
        let conflict = LogConflict.parentIsNotHead(dataset(), .main, parent: nil, head: head)
        #expect(conflict.description.contains("imagenet@main is at a2000000"))
    }

    @Test("makes a branch at any commit of the dataset, and lets it go on alone")
    func branch() {
        var state = twoCommits()
        state.add(.branch(BranchChange(dataset: dataset(), name: ref("dev"), target: 1)))
        state.add(state.nextCommit(snapshot(0xB1), on: ref("dev")))
        #expect(state.head(of: ref("dev"), in: dataset())?.commit.parent?.sequence == 1)
        #expect(state.head(of: .main, in: dataset())?.sequence == 2)
        #expect(state.voidRecords.isEmpty)
    }

    @Test("has one name space for branches and tags")
    func oneNameSpace() {
        var state = twoCommits()
        state.add(.tag(TagChange(dataset: dataset(), name: ref("v1"), target: 1)))
        refuses(
            .tag(TagChange(dataset: dataset(), name: ref("v1"), target: 1)), .tagExists(dataset(), ref("v1")),
            in: state)
        refuses(
            .branch(BranchChange(dataset: dataset(), name: ref("v1"), target: 1)),
            .tagExists(dataset(), ref("v1")), in: state)
        refuses(
            .tag(TagChange(dataset: dataset(), name: .main, target: 1)), .branchExists(dataset(), .main),
            in: state)
        refuses(
            .branch(BranchChange(dataset: dataset(), name: .main, target: 1)),
            .branchExists(dataset(), .main), in: state)
        refuses(
            .commit(Commit(dataset: dataset(), branch: ref("v1"), snapshot: snapshot(0xA3), parent: nil)),
            .tagExists(dataset(), ref("v1")), in: state)
    }

    @Test("writes a tag once, but again after its deletion")
    func tag() {
        var state = twoCommits()
        state.add(.tag(TagChange(dataset: dataset(), name: ref("v1"), target: 1)))
        let wrong = TagChange(dataset: dataset(), name: ref("v1"), target: 2, isDeletion: true)
        refuses(.tag(wrong), .refMoved(dataset(), ref("v1"), expected: 2, actual: 1), in: state)
        state.add(.tag(TagChange(dataset: dataset(), name: ref("v1"), target: 1, isDeletion: true)))
        refuses(
            .tag(TagChange(dataset: dataset(), name: ref("v1"), target: 1, isDeletion: true)),
            .noSuchTag(dataset(), ref("v1")), in: state)
        state.add(.tag(TagChange(dataset: dataset(), name: ref("v1"), target: 2)))
        #expect(state.datasets[dataset()]?.tags == [ref("v1"): 2])
    }

    @Test("resets a branch only from the head that the writer saw")
    func reset() {
        var state = twoCommits()
        refuses(
            .reset(Reset(dataset: dataset(), branch: .main, target: 1, previous: 1)),
            .refMoved(dataset(), .main, expected: 1, actual: 2), in: state)
        refuses(
            .reset(Reset(dataset: dataset(), branch: ref("dev"), target: 1, previous: 2)),
            .noSuchBranch(dataset(), ref("dev")), in: state)
        state.add(.reset(Reset(dataset: dataset(), branch: .main, target: 1, previous: 2)))
        state.add(state.nextCommit(snapshot(0xA4)))
        #expect(state.head(of: .main, in: dataset())?.commit.parent?.sequence == 1)
        #expect(state.commits[2] != nil, "history is never lost")
    }

    @Test("points names only at commits of the same dataset")
    func foreignTargets() {
        var state = twoCommits()
        state.add(state.nextCommit(snapshot(0xC1), in: dataset("other")))
        state.add(.tag(TagChange(dataset: dataset(), name: ref("v1"), target: 1)))
        for target: UInt64 in [0, 3, 4, 99, .max] {
            let missing = LogConflict.noSuchCommit(dataset(), target)
            refuses(
                .branch(BranchChange(dataset: dataset(), name: ref("b"), target: target)), missing, in: state)
            refuses(.tag(TagChange(dataset: dataset(), name: ref("t"), target: target)), missing, in: state)
            refuses(
                .reset(Reset(dataset: dataset(), branch: .main, target: target, previous: 2)), missing,
                in: state)
        }
    }

    @Test("deletes a branch only where the writer saw it")
    func deleteBranch() {
        var state = twoCommits()
        let stale = BranchChange(dataset: dataset(), name: .main, target: 1, isDeletion: true)
        refuses(.branch(stale), .refMoved(dataset(), .main, expected: 1, actual: 2), in: state)
        state.add(.branch(BranchChange(dataset: dataset(), name: .main, target: 2, isDeletion: true)))
        #expect(state.head(of: .main, in: dataset()) == nil)
    }

    @Test("walks up the parents")
    func ancestors() throws {
        let state = twoCommits()
        let head = try #require(state.head(of: .main, in: dataset()))
        #expect(state.ancestor(of: head, 0)?.sequence == 2)
        #expect(state.ancestor(of: head, 1)?.sequence == 1)
        #expect(state.ancestor(of: head, 2) == nil)
        #expect(state.ancestor(of: head, .max) == nil)
    }
}
