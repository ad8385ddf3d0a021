import ArgumentParser
import DatasetStore
import KamlCommand

/// `kaml diff`.
struct DiffCommand: AnsweringCommand {
    static let configuration = CommandConfiguration(
        commandName: "diff", abstract: "Tell what changed between two snapshots.",
        discussion: """
              kaml diff imagenet                        the last commit
              kaml diff imagenet@v1 imagenet@v2
              kaml diff imagenet@main~3 imagenet -o json

            Parts that both share are skipped without being read. Entries that differ in the time of modification alone
            are only counted, unless --times is given. With one name, that commit is compared with the one before it,
            and of the first commit everything is new.
            """)

    @Argument(help: "The older snapshot; alone: the newer one.", completion: NameCompletion.kind)
    var first: String
    @Argument(help: "The newer snapshot.", completion: NameCompletion.kind)
    var second: String?
    @Flag(help: "Also list entries that differ in their times alone.")
    var times = false
    @OptionGroup var store: StoreOptions
    @OptionGroup var output: OutputOptions

    func run() throws {
        let store = try store.open()
        let state = try store.state()
        var older = try SnapshotReference(first)
        var newer = older
        if let second { newer = try SnapshotReference(second) } else { older.stepsBack += 1 }
        let to = try store.find(newer, in: state)
        let new = try store.snapshot(to.snapshot)
        let stdout = StandardOutput()
        if second == nil, let commit = state.commits[to.sequence], commit.commit.parent == nil {
            try DiffReport(from: nil, to: ("\(newer)", to.snapshot)).write(
                as: output.format, { body throws(StoreError) in try SnapshotDiff.allAdded(new, body) },
                to: { stdout.write($0) })
        } else {
            let from = try store.find(older, in: state)
            let old = try store.snapshot(from.snapshot)
            let diff = SnapshotDiff(from: old, to: new, includesTimes: times)
            try DiffReport(from: ("\(older)", from.snapshot), to: ("\(newer)", to.snapshot)).write(
                as: output.format, { body throws(StoreError) in try diff.run(body) }, to: { stdout.write($0) }
            )
        }
        stdout.flush()
    }
}
