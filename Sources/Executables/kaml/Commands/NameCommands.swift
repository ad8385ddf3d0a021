import ArgumentParser
import Chunking
import DatasetStore
import KamlCommand

/// `kaml branch`.
struct BranchCommand: AnsweringCommand {
    static let configuration = CommandConfiguration(
        commandName: "branch", abstract: "List, make or delete branches.",
        discussion: """
              kaml branch imagenet                      lists them
              kaml branch imagenet cleaned              makes one at main
              kaml branch imagenet old main~3           makes one three commits before
              kaml branch imagenet cleaned --delete     the snapshots stay, and stay reachable by id
            """)

    @Argument(help: "The dataset.", completion: NameCompletion.kind)
    var dataset: String
    @Argument(help: "The branch to make or delete.")
    var name: String?
    @Argument(help: "Where it starts: a branch, tag, id or main~3.")
    var at = "main"
    @Flag(help: "Delete it.")
    var delete = false
    @OptionGroup var store: StoreOptions
    @OptionGroup var output: OutputOptions

    func run() throws {
        try NameChange(
            kind: .branch, dataset: try NameArgument.dataset(dataset), store: store.openForWriting()
        )
        .run(name, at: at, delete: delete, answer: { answer($0) }, done: { answer($0) })
    }
}

/// `kaml tag`.
struct TagCommand: AnsweringCommand {
    static let configuration = CommandConfiguration(
        commandName: "tag", abstract: "List, make or delete tags, which never move.",
        discussion: """
              kaml tag imagenet                  lists them
              kaml tag imagenet v2               names what main is now
              kaml tag imagenet v1 main~1        names the commit before
              kaml tag imagenet v2 --delete
            """)

    @Argument(help: "The dataset.", completion: NameCompletion.kind)
    var dataset: String
    @Argument(help: "The tag to make or delete.")
    var name: String?
    @Argument(help: "What it names: a branch, tag, id or main~3.")
    var at = "main"
    @Flag(help: "Delete it.")
    var delete = false
    @OptionGroup var store: StoreOptions
    @OptionGroup var output: OutputOptions

    func run() throws {
        try NameChange(kind: .tag, dataset: try NameArgument.dataset(dataset), store: store.openForWriting())
            .run(name, at: at, delete: delete, answer: { answer($0) }, done: { answer($0) })
    }
}

/// What branches and tags have in common.
private struct NameChange {
    let kind: NamesReport.Kind
    let dataset: DatasetName
    let store: Store

    func run(
        _ name: String?, at: String, delete: Bool, answer: (NamesReport) -> Void, done: (Done) -> Void
    ) throws {
        let state = try store.state()
        guard let name else {
            guard state.datasets[dataset] != nil else {
                _ = try store.find(SnapshotReference(dataset: dataset), in: state)
                return
            }
            if delete { throw Failure(.usage, "no \(kind.rawValue) to delete is named") }
            answer(NamesReport(kind, of: dataset, in: state))
            return
        }
        let ref = try NameArgument.ref(name, "a \(kind.rawValue)")
        done(try delete ? self.delete(ref, state) : make(ref, at, state))
    }

    private func make(_ ref: RefName, _ at: String, _ state: LogState) throws -> Done {
        let reference = try SnapshotReference("\(dataset)@\(at)")
        let target = try store.find(reference, in: state)
        let record = try append(state) { _ in change(ref, target.sequence, isDeletion: false) }
        return Done(
            "\(kind.rawValue) \(dataset)@\(ref) is at \(target.snapshot.hex.prefix(12))",
            [
                "dataset": .string(dataset.text), kind.rawValue: .string(ref.text),
                "snapshot": .string(target.snapshot.hex), "sequence": .unsigned(record),
            ])
    }

    private func delete(_ ref: RefName, _ state: LogState) throws -> Done {
        let names = state.datasets[dataset]
        guard let known = kind == .branch ? names?.branches[ref] : names?.tags[ref] else {
            // Says which names are close.
            _ = try store.find(SnapshotReference(dataset: dataset, name: ref), in: state)
            throw Failure(kind == .branch ? LogConflict.noSuchBranch(dataset, ref) : .noSuchTag(dataset, ref))
        }
        let record = try append(state) { _ in change(ref, known, isDeletion: true) }
        let snapshot = state.commits[known]?.commit.snapshot.hex ?? ""
        return Done(
            "deleted \(kind.rawValue) \(dataset)@\(ref); it was at \(snapshot.prefix(12)): "
                + "`kaml \(kind.rawValue) \(dataset) \(ref) \(snapshot.prefix(12))` brings it back",
            [
                "dataset": .string(dataset.text), kind.rawValue: .string(ref.text), "deleted": true,
                "snapshot": .string(snapshot), "sequence": .unsigned(record),
            ])
    }

    private func change(_ ref: RefName, _ target: UInt64, isDeletion: Bool) -> LogChange {
        kind == .branch
            ? .branch(BranchChange(dataset: dataset, name: ref, target: target, isDeletion: isDeletion))
            : .tag(TagChange(dataset: dataset, name: ref, target: target, isDeletion: isDeletion))
    }

    private func append(_ state: LogState, _ propose: (LogState) throws(RecordLogError) -> LogChange?) throws
        -> UInt64
    {
        var state = state
        return try store.log.append(to: &state, propose)?.sequence ?? 0
    }
}

/// `kaml reset`.
struct ResetCommand: AnsweringCommand {
    static let configuration = CommandConfiguration(
        commandName: "reset", abstract: "Move a branch to another commit.",
        discussion: """
              kaml reset imagenet@main main~1        takes the last commit back
              kaml reset imagenet@main v2

            Nothing is deleted: the move is a new record in the log, and the answer says how to undo it.
            """)

    @Argument(help: "The branch: DATASET@BRANCH.", completion: NameCompletion.kind)
    var branch: String
    @Argument(help: "Where to: a branch, tag, id or main~3 of the same dataset.")
    var target: String
    @OptionGroup var store: StoreOptions
    @OptionGroup var output: OutputOptions

    func run() throws {
        let store = try store.openForWriting()
        var state = try store.state()
        let reference = try SnapshotReference(branch)
        guard reference.stepsBack == 0, let previous = state.head(of: reference.name, in: reference.dataset)
        else {
            let found = try store.find(reference, in: state)
            throw Failure(
                .usage, "\(reference) is no branch, so it cannot be moved",
                hint:
                    "make a branch there: kaml branch \(found.dataset) NAME \(found.snapshot.hex.prefix(12))")
        }
        // A whole reference is taken too, as long as it is of the same dataset.
        let text = target.contains("@") ? target : "\(reference.dataset)@\(target)"
        let wanted = try store.find(try SnapshotReference(text), in: state)
        guard wanted.dataset == reference.dataset else {
            throw Failure(.usage, "\(text) is of another dataset than \(reference)")
        }
        let change = LogChange.reset(
            Reset(
                dataset: reference.dataset, branch: reference.name, target: wanted.sequence,
                previous: previous.sequence))
        let record = try store.log.append(to: &state) { _ in change }
        let old = previous.commit.snapshot.hex
        answer(
            Done(
                "\(reference) is at \(wanted.snapshot.hex.prefix(12)); it was at \(old.prefix(12))\n"
                    + "to undo: kaml reset \(reference) \(old.prefix(12))",
                [
                    "dataset": .string(reference.dataset.text), "branch": .string(reference.name.text),
                    "snapshot": .string(wanted.snapshot.hex), "previous": .string(old),
                    "sequence": .unsigned(record?.sequence ?? 0),
                    "undo": .string("kaml reset \(reference) \(old.prefix(12))"),
                ]))
    }
}
