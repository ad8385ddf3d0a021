import ArgumentParser
import DatasetStore
import KamlCommand

/// `kaml log`.
struct LogCommand: AnsweringCommand {
    static let configuration = CommandConfiguration(
        commandName: "log", abstract: "List the commits behind a name, newest first.",
        discussion: """
              kaml log imagenet
              kaml log imagenet@v2 --limit 5 -o json
            """)

    @Argument(help: "DATASET or DATASET@REF.", completion: NameCompletion.kind)
    var reference: String
    @Option(name: .shortAndLong, help: "List at most so many.")
    var limit: Int?
    @OptionGroup var store: StoreOptions
    @OptionGroup var output: OutputOptions

    func run() throws {
        let store = try store.open()
        let state = try store.state()
        let found = try store.find(try SnapshotReference(reference), in: state)
        guard let start = state.commits[found.sequence] else {
            throw Failure(.notFound, "there is no such commit")
        }
        answer(LogReport(of: start, in: state, limit: limit))
    }
}

/// `kaml list`.
struct ListCommand: AnsweringCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List datasets with their branches and tags.",
        discussion: """
              kaml list
              kaml list -o json | jq -r '.datasets[].name'
            """)

    @OptionGroup var store: StoreOptions
    @OptionGroup var output: OutputOptions

    func run() throws { answer(ListReport(try store.open().state())) }
}
