import Chunking
import ObjectStore

/// The head of a branch as an import found it, and the records that follow it.
struct BranchHead {
    /// What the branch stands at; nil when it has no commit.
    let parent: Commit.Parent?
    /// A snapshot to take over from: the head, else the dataset's newest.
    let resembled: Snapshot?

    private let dataset: DatasetName
    private let branch: RefName
    private let store: Store
    private var state: LogState

    /// Throws `.conflict` when the branch cannot take a commit.
    init(_ dataset: DatasetName, _ branch: RefName, in store: Store) throws(StoreError) {
        self.dataset = dataset
        self.branch = branch
        self.store = store
        state = try store.state()
        let head = state.head(of: branch, in: dataset)
        parent = head.map { Commit.Parent(sequence: $0.sequence, snapshot: $0.commit.snapshot) }
        let newest = head ?? state.datasets[dataset]?.commits.last.flatMap { [state] in state.commits[$0] }
        resembled = try newest.map { commit throws(StoreError) in try store.snapshot(commit.commit.snapshot) }
        try check(.commit(Commit(dataset: dataset, branch: branch, snapshot: .zero, parent: parent)))
    }

    private func check(_ change: LogChange) throws(StoreError) {
        do throws(LogConflict) { try state.check(change) } catch {
            throw StoreError(
                .conflict, error.description, remedy: "Look at `kaml log \(dataset)`, and give another branch"
            )
        }
    }

    /// Finds out before the work that the tag is taken. It may stay where it is when nothing changes.
    func checkTag(_ tag: RefName) throws(StoreError) {
        guard let known = state.datasets[dataset]?.tags[tag] else {
            guard state.datasets[dataset]?.branches[tag] == nil else {
                throw StoreError(
                    .conflict, "\(dataset)@\(tag) is a branch", remedy: "Give the tag another name")
            }
            return
        }
        guard known == parent?.sequence else {
            throw StoreError(
                .conflict, "the tag \(dataset)@\(tag) is there already, and a tag never moves",
                remedy: "Give another tag, or delete it with `kaml tag \(dataset) \(tag) --delete`")
        }
    }

    /// Commits a snapshot that follows the head. Returns the record's number.
    mutating func record(
        _ snapshot: ContentHash, message: String, metadata: [String: String], statistics: SnapshotStatistics,
        newBytes: UInt64, storedBytes: UInt64
    ) throws(StoreError) -> UInt64? {
        let change = Commit(
            dataset: dataset, branch: branch, snapshot: snapshot, parent: parent, message: message,
            metadata: metadata, files: statistics.files, bytes: statistics.bytes, newBytes: newBytes,
            storedBytes: storedBytes)
        return try append(.commit(change), at: snapshot)
    }

    /// Names the head as it is now. Does nothing when the tag names it already.
    mutating func makeTag(_ tag: RefName) throws(StoreError) {
        guard let head = state.head(of: branch, in: dataset) else { return }
        if state.datasets[dataset]?.tags[tag] == head.sequence { return }
        let change = TagChange(dataset: dataset, name: tag, target: head.sequence)
        _ = try append(.tag(change), at: head.commit.snapshot)
    }

    /// The head was found, not made: whoever made it may have died before it was durable.
    func makeDurable() throws(StoreError) {
        do throws(RecordLogError) { try store.log.makeDurable(state) } catch { throw StoreError(error) }
    }

    private mutating func append(_ change: LogChange, at snapshot: ContentHash) throws(StoreError) -> UInt64?
    {
        do throws(RecordLogError) {
            return try store.log.append(to: &state) { _ in change }?.sequence
        } catch {
            guard case .conflict(let conflict) = error else { throw StoreError(error) }
            throw StoreError(
                .conflict, conflict.description, snapshot: snapshot.hex,
                remedy: "What was stored is kept: importing again is cheap")
        }
    }
}
