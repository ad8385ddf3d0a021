import ArgumentParser
import GRPCCore
import KamlCommand
import KamlProtos
import KamlRPC
import System
import Transport

/// `kaml status`.
struct StatusCommand: AnsweringCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "What this node's agent does: its mounts, its cache, what is wrong.",
        discussion: """
              kaml status
              kaml status -o json
            """)

    @OptionGroup var agent: AgentOptions
    @OptionGroup var output: OutputOptions

    func run() throws {
        answer(StatusReport(try agent.call { try await $0.getStatus(Kaml_Agent_V1_GetStatusRequest()) }))
    }
}
