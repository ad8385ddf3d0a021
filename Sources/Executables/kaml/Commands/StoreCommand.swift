import ArgumentParser
import DatasetStore
import KamlCommand
import ObjectStore
import S3
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
                  kaml store init --store s3://bucket/prefix --endpoint https://minio.example:9000

                The directory is made when it is not there. A store that is there already is left as it is, and a directory
                with anything else in it is refused (exit code 4).

                A bucket must be there, unless --make-bucket makes it. Credentials are taken from the environment
                (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), from a profile, or from the service that the pod or
                machine has for it; never from the command line. The server is asked once whether it refuses to write an
                object twice (If-None-Match). Where it does not, the store is marked single-writer: then two commits at
                the same time can lose one of them, so let only one program write.
                """)

        @Flag(help: "Make the bucket when it is not there.")
        var makeBucket = false

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
            var finding: ConditionalPutFinding?
            if let bucket = objects as? S3ObjectStore {
                if makeBucket { try bucket.bucket.make() }
                try Self.checkIsFree(bucket)
                finding = try bucket.probeConditionalPut()
            } else if makeBucket {
                throw Failure(.usage, "--make-bucket is for stores in S3", hint: "leave it out")
            }
            let isSingleWriter = finding.map { $0 != .honoured } ?? false
            let made = try Store.create(
                at: objects, isSingleWriter: isSingleWriter, .init(author: StorePlace.author))
            if isSingleWriter, let finding { Self.warn(finding) }
            var facts = OutputObject([
                "store": .string(objects.location), "id": .string(made.configuration.storeID),
                "formatVersion": .count(made.configuration.formatVersion),
                "singleWriter": .bool(isSingleWriter),
            ])
            facts["conditionalPut"] = finding.map { .string($0.rawValue) }
            let safety =
                finding == .honoured ? "\nthe server honours If-None-Match, so many may write at a time" : ""
            answer(Done("made a store at \(objects.location)\(safety)", facts.value))
        }

        private static func warn(_ finding: ConditionalPutFinding) {
            let how = finding == .ignored ? "ignores" : "refuses"
            StandardError.write(
                """
                warning: the server \(how) If-None-Match, so the store is single-writer: two commits at the same time \
                can lose one of them; let only one program write

                """)
        }

        /// A mistyped prefix must not make a store among somebody's objects.
        private static func checkIsFree(_ bucket: S3ObjectStore) throws {
            // A store that is there is told by the create.
            if try bucket.size(of: Store.configurationKey) != nil { return }
            guard let foreign = try bucket.firstForeignKey() else { return }
            throw Failure(
                .conflict, "\(bucket.location) is not empty and holds no store",
                why: "it has \(foreign) and no \(Store.configurationKey.text)",
                hint: "name an empty prefix")
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
