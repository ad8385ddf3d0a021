import ArgumentParser

/// What the bench harness measures from inside a process: loops that must not pay for an interpreter.
/// Every subcommand prints one JSON object.
@main
struct KamlBench: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "kaml-bench", abstract: "Measuring loops for `make bench`.",
        subcommands: [
            ReadFiles.self, ColdRead.self, Synth.self, Lookups.self, VerifiedLoad.self, EpochReads.self,
            CacheStart.self,
        ])
}
