import Agent
import ArgumentParser
import Glibc
import KamlCommand
import KamlRPC
import ServiceLifecycle
import System
import UnixSignals

/// `kamld agent`.
struct AgentCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "agent", abstract: "Serve this node's mounts from one cache.",
        discussion: """
              kamld agent --config /etc/kaml/kamld.yaml
              kamld agent --config /etc/kaml/kamld.yaml --check-config

            Every key of the file is also an environment variable and a flag; a flag goes before the environment, and that
            before the file. SIGHUP reads all of it again. SIGTERM and SIGINT end the agent in order.

            \(AgentConfiguration.help)
            """)

    @Option(help: "The configuration, in YAML.", completion: .file())
    var config: String?
    @Flag(help: "Say what is wrong with the configuration, and end.")
    var checkConfig = false
    @Flag(help: "Print the configuration as a commented file, and end.")
    var printConfig = false
    @Argument(parsing: .allUnrecognized, help: .init("Settings, as --key value.", visibility: .hidden))
    var settings: [String] = []

    func run() async throws {
        let configuration = try Self.reporting { () throws(ConfigurationProblems) in
            let configuration = try read()
            try AgentObservation.check(configuration)
            return configuration
        }
        if printConfig { return Self.print(configuration.rendered()) }
        if checkConfig { return Self.print("the configuration is good\n") }
        ProcessSecrets.forbidDumps()
        let build = AgentObservation.Build(version: Versions.kaml, commit: Versions.commit)
        let observation = try Self.reporting { () throws(ConfigurationProblems) in
            try AgentObservation.start(configuration, build)
        }
        do { try await serve(configuration, observation) } catch {
            let failure = AgentFailures.failure(error)
            observation.log(failure)
            observation.close()
            throw ArgumentParser.ExitCode(failure.status.rawValue)
        }
        observation.close()
    }

    /// Says what is wrong with the configuration, and ends.
    private static func reporting<Value>(_ body: () throws(ConfigurationProblems) -> Value) throws -> Value {
        do throws(ConfigurationProblems) { return try body() } catch {
            StandardError.write(error.list.map { "error: \($0)\n" }.joined())
            throw ArgumentParser.ExitCode(ExitStatus.usage.rawValue)
        }
    }

    private static func print(_ text: String) {
        let output = StandardOutput()
        output.write(text)
        output.flush()
    }

    private func read() throws(ConfigurationProblems) -> AgentConfiguration {
        var file: (name: String, bytes: [UInt8])?
        if let config {
            do throws(Errno) { file = (config, try Self.bytes(of: ByteString(config))) } catch {
                throw ConfigurationProblems([ConfigurationProblem(config, "cannot be read: \(error)")])
            }
        }
        return try ConfigurationReader.read(file: file, flags: settings, host: .current)
    }

    private static func bytes(of path: ByteString) throws(Errno) -> [UInt8] {
        let file = try FileDescriptor.open(path, O_RDONLY)
        // One more than is taken, so that a larger file is seen to be.
        var bytes = [UInt8](repeating: 0, count: ConfigurationReader.largestFile + 1)
        let outcome = unsafe bytes.withUnsafeMutableBytes { buffer in
            Result { () throws(Errno) in try unsafe file.read(into: buffer, at: 0) }
        }
        return Array(bytes.prefix(try outcome.get()))
    }

    private func serve(_ configuration: AgentConfiguration, _ observation: AgentObservation) async throws {
        let events = EventLog { observation.log($0) }
        let (agent, services) = try await AgentServices.open(
            configuration, version: Versions.kaml, configurationFile: ByteString(config ?? ""),
            events: events,
            describe: { AgentFailures.failure($0).wireForm })
        let command = self
        let reload = ReloadService(agent: agent, observation: observation) { try command.read() }
        let group = ServiceGroup(
            configuration: .init(
                services: ([observation] + services.services + [reload]).map { .init(service: $0) },
                gracefulShutdownSignals: [.sigterm, .sigint], logger: observation.logger))
        try await group.run()
    }
}

/// Reads the configuration again on SIGHUP.
struct ReloadService: Service {
    let agent: NodeAgent
    let observation: AgentObservation
    let read: @Sendable () throws -> AgentConfiguration

    func run() async throws {
        await cancelWhenGracefulShutdown {
            let manager = ServiceManager()
            for await _ in await UnixSignalsSequence(trapping: .sighup) {
                let now = HostClock().monotonicNanoseconds() / 1000
                try? manager?.notify(.reloading(monotonicMicroseconds: now))
                do {
                    let configuration = try read()
                    observation.reload(configuration)
                    agent.reload(configuration)
                } catch {
                    agent.events.add("reloadFailed", "nothing was changed: \(error)", severity: .error)
                }
                try? manager?.notify(.ready)
            }
        }
    }
}
