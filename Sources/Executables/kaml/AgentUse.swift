import ArgumentParser
import FoundationEssentials
import Glibc
import KamlCommand
import KamlProtos
import ObjectStore
import System
import Transport

/// `--agent` and `--no-agent`, for commands that can also do without one.
struct AgentUse: ParsableArguments {
    @OptionGroup var agent: AgentOptions
    @Flag(name: .customLong("no-agent"), help: "Do it in a process of its own, also when an agent runs.")
    var isRefused = false

    /// Whether the command goes to an agent: to one that is named always, else to one that answers.
    var isWanted: Bool {
        get throws {
            if isRefused { return false }
            if agent.isNamed { return true }
            let path = try agent.path
            switch RPCConnection.answers(path) {
            case .success:
                if isatty(STDERR_FILENO) == 1 { StandardError.write("kaml: through the agent at \(path)\n") }
                return true
            case .failure: return false
            }
        }
    }
}

extension StoreOptions {
    /// The store as an agent is told of it. How it is reached is in the agent's configuration.
    func target(_ reference: String) throws -> Kaml_Agent_V1_Target {
        if endpoint ?? region ?? profile ?? caFile ?? proxy != nil || s3Style != nil || patience != nil {
            throw Failure(
                .usage, "an agent reaches stores as its configuration says",
                hint: "leave out what tells how the store is reached, or give --no-agent")
        }
        var target = Kaml_Agent_V1_Target()
        target.reference = reference
        guard let text = url ?? StorePlace.environment(StorePlace.variable) else { return target }
        // A word is a store's name in the agent's configuration.
        let isPlace = text.utf8.contains(UInt8(ascii: "/")) || text.hasPrefix(".")
        target.store = isPlace ? "\(try ObjectStoreURL(text))" : text
        return target
    }
}
