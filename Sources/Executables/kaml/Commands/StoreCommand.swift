import ArgumentParser
import DatasetStore
import KamlCommand
import ObjectStore
import System

/// `kaml store`.
struct StoreCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "store", abstract: "Make a store.", subcommands: [Initialise.self])

    /// `kaml store init`.
    struct Initialise: AnsweringCommand {
        static let configuration = CommandConfiguration(
            commandName: "init", abstract: "Make a store in a place that has none.",
            discussion: """
                  kaml store init --store file:///data/store
                  KAML_STORE=/data/store kaml store init

                The directory is made when it is not there. A store that is there already is left as it is (exit code 4).
                """)

        @OptionGroup var store: StoreOptions
        @OptionGroup var output: OutputOptions

        func run() throws {
            let place = try StorePlace.url(store.url)
            switch place {
            case .directory(let path):
                do throws(Errno) { try HostFileSystem().makeDirectories(path) } catch {
                    throw Failure(
                        "cannot make the directory \(path)", error, hint: "check the path and its owner")
                }
            }
            let objects = place.open()
            let made = try Store.create(at: objects, .init(author: StorePlace.author))
            answer(
                Done(
                    "made a store at \(objects.location)",
                    [
                        "store": .string(objects.location), "id": .string(made.configuration.storeID),
                        "formatVersion": .count(made.configuration.formatVersion),
                    ]))
        }
    }
}
