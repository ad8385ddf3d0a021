import ArgumentParser
import Glibc
import KamlCommand
import KamlProtos
import KamlRPC
import System

/// `kaml top`.
struct TopCommand: AnsweringCommand {
    static let configuration = CommandConfiguration(
        commandName: "top",
        abstract: "Watch this node's agent: throughput by tier, hit ratio, mounts, slow reads.",
        discussion: """
              kaml top
              kaml top --once -o json      for programs: rates over one interval

            Reads that the kernel answers itself, from its page cache or from a container by passthrough, are not seen.
            """)

    @Flag(help: "Look over one interval, and end. As also when the output is no terminal, or for programs.")
    var once = false
    @Option(help: .init("Seconds between two looks, 0.2 to 60.", valueName: "seconds"))
    var interval = 1.0
    @OptionGroup var agent: AgentOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard (0.2...60).contains(interval) else { throw ValidationError("--interval is 0.2 to 60") }
    }

    func run() throws {
        var before = try look()
        let isLive = !once && output.format == .table && isatty(STDOUT_FILENO) == 1
        while true {
            usleep(UInt32(interval * 1e6))
            let now = try look()
            let report = TopReport(before, now)
            guard isLive else { return answer(report) }
            let stdout = StandardOutput()
            // To the corner; each line clears its rest, and the last one what is below it.
            let lines = report.render().split(separator: "\n", omittingEmptySubsequences: false)
                .prefix(StandardError.rows - 1)
                .map { CellText.truncated(String($0), to: StandardError.columns - 1) }
            stdout.write("\u{1B}[H" + lines.map { $0 + "\u{1B}[K\n" }.joined() + "\u{1B}[J")
            stdout.flush()
            before = now
        }
    }

    private func look() throws -> Kaml_Agent_V1_Status {
        try agent.call { try await $0.getStatus(Kaml_Agent_V1_GetStatusRequest()) }
    }
}
