import ArgumentParser
import Glibc
import System

/// `kamld`: the node's daemon.
@main
struct Kamld: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "kamld", abstract: "The daemon of a node.", subcommands: [AgentCommand.self])

    static func main() async {
        // A store's connection or a pipe that goes away is an error to handle, not a reason to die.
        signal(SIGPIPE, SIG_IGN)
        ResourceLimits.raiseDescriptors()
        await main(nil)
    }
}
