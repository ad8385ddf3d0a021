import Agent
import ArgumentParser
import Glibc
import GRPCCore
import KamlCommand
import KamlProtos
import KamlRPC
import Synchronization
import System
import Transport

/// How a command finds the agent.
struct AgentOptions: ParsableArguments {
    typealias Client = Kaml_Agent_V1_Agent.Client<UnixSocketTransport>

    @Option(
        name: .customLong("agent"),
        help: .init(
            "The agent's socket. Else KAML_AGENT_SOCKET, KAML_ADMIN_SOCKET (as for kamld), or where an agent of this user listens.",
            valueName: "path"),
        completion: .file())
    var socket: String?

    var path: ByteString {
        get throws {
            if let socket { return try CachePlace.absolute(RawArguments.bytes(of: socket)) }
            if let named = Self.environment { return try CachePlace.absolute(ByteString(named)) }
            return AgentConfiguration.defaultSocket(.current)
        }
    }

    /// Whether an agent was named, so that it is an error when there is none.
    var isNamed: Bool { socket != nil || Self.environment != nil }

    private static var environment: String? {
        StorePlace.environment("KAML_AGENT_SOCKET") ?? StorePlace.environment("KAML_ADMIN_SOCKET")
    }

    /// Calls the agent and waits. Not to be used from a task: it blocks its thread.
    func call<Answer: Sendable>(
        _ body: @escaping @Sendable (Client) async throws -> Answer
    ) throws -> Answer {
        let path = try path
        if case .failure(let error) = RPCConnection.answers(path) { throw Self.unreachable(path, error) }
        let outcome = Monitor<Result<Answer, any Error>?>(nil)
        Task.detached {
            let result: Result<Answer, any Error>
            do {
                result = .success(
                    try await RPCConnection.with(path) { try await body(Client(wrapping: $0)) })
            } catch {
                result = .failure(error)
            }
            outcome.withLock { $0 = result }
            outcome.wake()
        }
        do { return try outcome.wait { $0 }.get() } catch let error as RPCError {
            throw Failure(error, from: path)
        }
    }

    private static func unreachable(_ path: ByteString, _ error: Errno) -> Failure {
        switch error {
        case .accessDenied, .notPermitted:
            Failure(
                .permissionDenied, "the agent behind \(path) belongs to another user",
                hint: "ask as its owner, or as root")
        default:
            Failure(
                .unavailable, "no agent answers on \(path)", why: "\(error)",
                hint:
                    "start it with `kamld agent`, name its socket with --agent, or give --no-agent to mount, umount or warm without one"
            )
        }
    }
}

extension Failure {
    /// In the words that the agent found, or in gRPC's where it found none.
    init(_ error: RPCError, from socket: ByteString) {
        guard let failure = RPCFailure(error) else {
            let status: ExitStatus = error.code == .unavailable ? .unavailable : .failure
            self.init(
                status, "the agent behind \(socket) did not answer as it should", why: error.message,
                hint: "`kaml status` tells how it is; kaml and kamld should be of one version")
            return
        }
        let status = ExitStatus.allCases.first { $0.word == failure.reason } ?? .failure
        self.init(
            status, failure.message, why: failure.fields["why"], hint: failure.fields["hint"],
            dataset: failure.fields["dataset"], snapshot: failure.fields["snapshot"],
            path: failure.fields["path"], object: failure.fields["object"])
    }
}
