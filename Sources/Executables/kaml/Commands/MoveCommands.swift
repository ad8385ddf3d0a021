import ArgumentParser
import DatasetStore
import KamlCommand
import ObjectStore
import System

/// `kaml push`.
struct PushCommand: AnsweringCommand {
    static let configuration = CommandConfiguration(
        commandName: "push", abstract: "Bring a snapshot, and its history, into another store.",
        discussion: """
              kaml push imagenet --to s3://datasets/kaml
              kaml push imagenet@v2 --to /mnt/disk/store          the tag goes along
              kaml push imagenet --to s3://datasets/kaml --tags --as vision/imagenet

            \(MoveHelp.text)
            """)

    @Argument(help: "DATASET[@REF].", completion: NameCompletion.kind)
    var snapshot: String
    @Option(help: .init("The store that gets it.", valueName: "url"), completion: .directory)
    var to: String
    @OptionGroup var move: MoveOptions
    @OptionGroup var store: StoreOptions
    @OptionGroup var output: OutputOptions

    func run() throws {
        let reference = try SnapshotReference(snapshot)
        let source = try store.open()
        let target = try store.open(other: to)
        target.warnOfOtherWriters()
        let result = try Move(from: source, to: target, try move.options)
            .run { state in [try source.find(reference, in: state)] }
        answer(TransferReport(from: source.objects.location, to: target.objects.location, result))
    }
}

/// `kaml pull`.
struct PullCommand: AnsweringCommand {
    static let configuration = CommandConfiguration(
        commandName: "pull", abstract: "Bring a snapshot, and its history, here from another store.",
        discussion: """
              kaml pull imagenet --from s3://datasets/kaml
              kaml pull imagenet@v2 --from s3://datasets/kaml --only

            \(MoveHelp.text)
            """)

    @Argument(help: "DATASET[@REF], as the other store names it.")
    var snapshot: String
    @Option(help: .init("The store that has it.", valueName: "url"), completion: .directory)
    var from: String
    @OptionGroup var move: MoveOptions
    @OptionGroup var store: StoreOptions
    @OptionGroup var output: OutputOptions

    func run() throws {
        let reference = try SnapshotReference(snapshot)
        let target = try store.openForWriting()
        let source = try store.open(other: from)
        let result = try Move(from: source, to: target, try move.options)
            .run { state in [try source.find(reference, in: state)] }
        answer(TransferReport(from: source.objects.location, to: target.objects.location, result))
    }
}

/// `kaml clone`.
struct CloneCommand: AnsweringCommand {
    static let configuration = CommandConfiguration(
        commandName: "clone", abstract: "Bring a whole dataset here from another store.",
        discussion: """
              kaml clone imagenet --from s3://datasets/kaml                 all branches and tags
              kaml clone imagenet@main --from s3://datasets/kaml --as mine

            The dataset must not be here yet; `kaml pull` brings one up to date that is. Tags come along that name a commit
            of a branch.

            \(MoveHelp.text)
            """)

    @Argument(help: "DATASET, or DATASET@REF for one branch or tag only, as the other store names it.")
    var snapshot: String
    @Option(help: .init("The store that has it.", valueName: "url"), completion: .directory)
    var from: String
    @OptionGroup var move: MoveOptions
    @OptionGroup var store: StoreOptions
    @OptionGroup var output: OutputOptions

    func run() throws {
        let reference = try SnapshotReference(snapshot)
        let target = try store.openForWriting()
        let source = try store.open(other: from)
        var options = try move.options
        options.mustBeNew = true
        options.movesTags = true
        let isWhole = !snapshot.utf8.contains(UInt8(ascii: "@"))
        let result = try Move(from: source, to: target, options)
            .run { state in
                guard isWhole, let branches = state.datasets[reference.dataset]?.branches, branches.count > 0
                else {
                    return [try source.find(reference, in: state)]
                }
                guard branches.count == 1 || options.branch == nil else {
                    throw Failure(
                        .usage, "--branch names one branch, and \(reference.dataset) has \(branches.count)",
                        hint: "say which one: `kaml clone \(reference.dataset)@main`")
                }
                return try branches.keys.sorted().map {
                    try source.find(SnapshotReference(dataset: reference.dataset, name: $0), in: state)
                }
            }
        answer(TransferReport(from: source.objects.location, to: target.objects.location, result))
    }
}

/// What the three commands share.
struct MoveOptions: ParsableArguments {
    @Option(
        name: .customLong("as"),
        help: .init("The dataset's name where it goes; the one it has if not given.", valueName: "dataset"))
    var name: String?
    @Option(
        help: .init(
            "The branch where it goes; the one that is named, or the commit's own, if not given.",
            valueName: "name"))
    var branch: String?
    @Option(help: .init("Of the commits that are missing there only the newest N.", valueName: "N"))
    var depth: Int?
    @Flag(help: "Only the snapshot itself: the same as --depth 1.")
    var only = false
    @Flag(help: "Also the tags of all commits that are then there.")
    var tags = false
    @Option(help: "Packs that are copied side by side.")
    var threads = 4

    func validate() throws {
        guard (1...64).contains(threads) else { throw ValidationError("--threads is 1 to 64") }
        guard depth.map({ $0 > 0 }) ?? true else { throw ValidationError("--depth is at least 1") }
        guard depth == nil || !only else { throw ValidationError("--only means --depth 1: give one of them") }
    }

    var options: TransferOptions {
        get throws {
            var options = TransferOptions()
            options.dataset = try name.map(NameArgument.dataset)
            options.branch = try branch.map { try NameArgument.ref($0, "a branch") }
            options.depth = only ? 1 : depth
            options.movesTags = tags
            options.threads = threads
            return options
        }
    }
}

private enum MoveHelp {
    static let text = """
        Only what is missing there is copied, and every chunk is verified on the way: a damaged pack is named, and not
        passed on. Ids, messages, authors and times stay. All commits before the snapshot come along unless --only or
        --depth limits them. Nothing is visible before all of it has arrived, so the command can be killed at any time;
        run again, it goes on with what is missing.

        A branch there that has other commits is never overwritten (exit code 4): give --branch another name.

        Credentials and endpoints are those of the environment for both stores; a URL may say its own, as in
        s3://bucket/prefix?endpoint=https://host:port.
        """
}

extension StoreOptions {
    /// A second store, reached in the same way as the first.
    func open(other url: String) throws -> Store {
        var other = self
        other.url = url
        return try other.open()
    }
}

/// A transfer with its bar.
private struct Move {
    let source: Store
    let target: Store
    let options: TransferOptions

    init(from source: Store, to target: Store, _ options: TransferOptions) {
        self.source = source
        self.target = target
        self.options = options
    }

    func run(_ wanted: (LogState) throws -> [ResolvedSnapshot]) throws -> TransferResult {
        let state = try source.state()
        let resolved = try wanted(state)
        TemporaryObjects.removeAbandoned(from: target.objects)
        let counter = WorkCounter()
        return try withProgress(counter, noun: "objects") {
            try source.transfer(resolved, in: state, to: target, options, progress: counter)
        }
    }
}
