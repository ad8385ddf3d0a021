import ArgumentParser
import DatasetStore
import Glibc
import KamlCommand
import System

/// `kaml export`.
struct ExportCommand: AnsweringCommand {
    static let configuration = CommandConfiguration(
        commandName: "export", abstract: "Write a snapshot, or a part of it, into a directory.",
        discussion: """
              kaml export imagenet@v2 /data/v2
              kaml export imagenet@v2:train/labels.csv .  --force

            Restores modes, times, links, extended attributes and holes, and as root owners too; setuid and setgid bits
            only with --special-bits. A directory's contents go into the target, a file into it under its name. The
            target must be empty or new unless --force is given. Symlinks are made but never followed, so nothing is
            written outside of the target. A file that the store cannot give back whole is left out (exit code 5).
            """)

    @Argument(help: "DATASET[@REF][:PATH].", completion: NameCompletion.kind)
    var place: String
    @Argument(help: "The directory to write into.", completion: .directory)
    var target: String
    @Flag(help: "Replace files that are in the way; what else is there stays.")
    var force = false
    @Flag(help: "Also restore setuid and setgid bits.")
    var specialBits = false
    @Flag(inversion: .prefixedNo, help: "Give files to their recorded owners (default for root).")
    var owners: Bool?
    @Option(help: "Threads that write files.")
    var threads: Int = DefaultThreads.count
    @OptionGroup var store: StoreOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard (1...1024).contains(threads) else { throw ValidationError("--threads is 1 to 1024") }
    }

    func run() throws {
        let store = try store.open()
        let (snapshot, _, path) = try store.open(place)
        let directory = try CachePlace.absolute(RawArguments.bytes(of: target))
        var options = ExportOptions(target: directory, restoresOwners: owners ?? (geteuid() == 0))
        options.overwrites = force
        options.restoresSpecialBits = specialBits
        options.threads = threads
        let counter = WorkCounter()
        let clock = HostClock()
        let start = clock.monotonicNanoseconds()
        let export = SnapshotExport(snapshot, of: store, options: options, progress: counter)
        let result = try withProgress(counter, noun: "files") { try export.run(path) }
        answer(
            ExportReport(
                directory.description, result, seconds: Double(clock.monotonicNanoseconds() - start) / 1e9))
        if result.lostAttributes > 0 {
            StandardError.write(
                "warning: the target's file system did not take \(CountText.of(result.lostAttributes, "extended attribute"))\n"
            )
        }
        if result.failedFiles > 0 {
            throw Failure(
                .damaged, "\(CountText.of(result.failedFiles, "file was", "files were")) not written",
                why: result.failures.first?.description,
                hint: "`kaml check --read-data` tells all that is damaged")
        }
    }
}
