import ArgumentParser
import DatasetStore
import Glibc
import KamlCommand
import System

/// The command that people type.
@main
struct Kaml: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "kaml",
        abstract: "Versioned datasets: commit directories, look at them, mount them.",
        discussion: """
            A store is a directory or a bucket (s3://bucket/prefix) that holds datasets; name it with --store or KAML_STORE.

              export KAML_STORE=file:///data/store
              kaml store init
              kaml commit imagenet /data/imagenet -m "first version"
              kaml log imagenet
              kaml mount imagenet@main /mnt/imagenet

            A snapshot is named DATASET (its branch main), DATASET@BRANCH, DATASET@TAG, DATASET@main~3 (three commits
            before), or DATASET@<first digits of its id>. A path in it follows a colon: imagenet@v2:train/labels.csv.

            Data goes to stdout, all else to stderr. -o json and -o yaml are for programs: keys are camelCase and
            sorted, sizes are bytes, times are RFC 3339 in UTC. A path that is not valid UTF-8 is shown with \\xNN for its
            odd bytes, and whole in hexadecimal under the same key with "Bytes" appended (pathBytes).

            \(ExitStatus.help)
            """,
        version: Versions().render(),
        subcommands: [
            StoreCommand.self, CommitCommand.self, ImportCommand.self, LogCommand.self, ListCommand.self,
            BranchCommand.self,
            TagCommand.self, ResetCommand.self, DiffCommand.self, LsCommand.self, CatCommand.self,
            StatCommand.self,
            ExportCommand.self, IndexCommand.self, PushCommand.self, PullCommand.self, CloneCommand.self,
            WarmCommand.self,
            PinCommand.self,
            MountCommand.self,
            UmountCommand.self, StatusCommand.self, TopCommand.self, EventsCommand.self, DebugCommand.self,
            CheckCommand.self, StatsCommand.self,
            DoctorCommand.self, VersionCommand.self,
        ])

    static func main() {
        // A store's connection or a pipe that goes away is an error to handle, not a reason to die.
        signal(SIGPIPE, SIG_IGN)
        ResourceLimits.raiseDescriptors()
        if let failure = unknownCommand(CommandLine.arguments) {
            end(by: failure, format: wantedFormat(CommandLine.arguments))
        }
        let command: any ParsableCommand
        do { command = try parseAsRoot() } catch { end(byUsage: error) }
        var running = command
        do { try running.run() } catch {
            // `kaml help` and --help are commands too; what they print comes as an error.
            if exitCode(for: error) == .success { end(byUsage: error) }
            end(by: error, format: (command as? any AnsweringCommand)?.output.format ?? .table)
        }
    }

    /// ArgumentParser calls a mistyped command an unexpected argument, and answers `help` of one with the general help.
    private static func unknownCommand(_ arguments: [String]) -> Failure? {
        var words = arguments.dropFirst()
        if words.first == "help" { words = words.dropFirst() }
        guard let word = words.first, !word.hasPrefix("-") else { return nil }
        let known =
            configuration.subcommands.compactMap { $0.configuration.commandName } + ["help"]
        if known.contains(word) { return nil }
        let close = CloseNames.of(word, among: known)
        return Failure(
            .usage, "there is no command \"\(word)\"",
            hint: close.isEmpty
                ? "`kaml help` lists the commands" : "did you mean \(close.joined(separator: " or "))?")
    }

    /// Help and completion scripts go to stdout; what was not understood, to stderr.
    private static func end(byUsage error: any Error) -> Never {
        let text = fullMessage(for: error)
        if exitCode(for: error) == .success {
            let output = StandardOutput()
            output.write(text.hasSuffix("\n") ? text : text + "\n")
            output.flush()
            Glibc.exit(ExitStatus.ok.rawValue)
        }
        let wanted = wantedFormat(CommandLine.arguments)
        if wanted == .table {
            // In the form of all other errors.
            StandardError.write((text.hasPrefix("Error: ") ? "e" + text.dropFirst() : text) + "\n")
        } else {
            let failure = Failure(.usage, message(for: error), hint: "`kaml help` lists the commands")
            StandardError.write(failure.rendered(as: wanted))
        }
        Glibc.exit(ExitStatus.usage.rawValue)
    }

    private static func end(by error: any Error, format: OutputFormat) -> Never {
        // ArgumentParser's own, such as a request for help.
        let code = exitCode(for: error)
        if code == .success || code == .validationFailure { end(byUsage: error) }
        if let code = error as? ArgumentParser.ExitCode { Glibc.exit(code.rawValue) }
        let failure = Failure(error)
        StandardError.write(failure.rendered(as: format))
        Glibc.exit(failure.status.rawValue)
    }

    /// What `-o` says on a command line that was not understood.
    static func wantedFormat(_ arguments: [String]) -> OutputFormat {
        for (index, argument) in arguments.enumerated() {
            if argument == "-o" || argument == "--output", index + 1 < arguments.count {
                return OutputFormat(rawValue: arguments[index + 1]) ?? .table
            }
            for prefix in ["--output=", "-o"] where argument.hasPrefix(prefix) {
                if let format = OutputFormat(rawValue: String(argument.dropFirst(prefix.count))) {
                    return format
                }
            }
        }
        return .table
    }
}
