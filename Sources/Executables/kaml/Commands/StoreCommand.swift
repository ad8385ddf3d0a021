import ArgumentParser
import DatasetStore
import KamlCommand
import ObjectStore
import Stores
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

                The directory is made when it is not there. A store that is there already is left as it is, and a directory
                with anything else in it is refused (exit code 4).
                """)

        @OptionGroup var store: StoreOptions
        @OptionGroup var output: OutputOptions

        func run() throws {
            let place = try StorePlace.url(store.url)
            switch place {
            case .directory(let path):
                try Self.checkIsFree(path)
                do throws(Errno) { try HostFileSystem().makeDirectories(path) } catch {
                    throw Failure(
                        "cannot make the directory \(path)", error, hint: "check the path and its owner")
                }
            case .bucket: break
            }
            let objects = try store.opener.open(place)
            let made = try Store.create(at: objects, .init(author: StorePlace.author))
            answer(
                Done(
                    "made a store at \(objects.location)",
                    [
                        "store": .string(objects.location), "id": .string(made.configuration.storeID),
                        "formatVersion": .count(made.configuration.formatVersion),
                    ]))
        }

        /// A mistyped path must not make a store among somebody's files.
        private static func checkIsFree(_ path: ByteString) throws {
            let files = HostFileSystem()
            // By way of "/." a symlink to a directory counts as one.
            guard let status = (try? files.status(of: path.appending("."))) ?? (try? files.status(of: path))
            else { return }
            guard status.kind == .directory else {
                throw Failure(
                    .conflict, "\(path) is not a directory",
                    hint: "a store is a directory: name another path")
            }
            let names: [ByteString]
            do throws(Errno) { names = try files.list(path).map(\.name) } catch {
                throw Failure("cannot list the directory \(path)", error, hint: "check its owner and mode")
            }
            // `.tmp` is left by an init that was killed, the other by a fresh file system.
            let own: Set<ByteString> = [ByteString(Store.configurationKey.text), ".tmp", "lost+found"]
            guard !names.contains(ByteString(Store.configurationKey.text)),
                let foreign = names.sorted().first(where: { !own.contains($0) })
            else { return }
            throw Failure(
                .conflict, "the directory \(path) is not empty and holds no store",
                why: "it has \(foreign) and no \(Store.configurationKey.text)",
                hint: "name an empty or a new directory")
        }
    }
}
