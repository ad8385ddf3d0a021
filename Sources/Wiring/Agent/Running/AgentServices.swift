import GRPCCore
package import KamlRPC
import Logging
import NodeCache
package import ServiceLifecycle
package import System
import Telemetry
import Transport

/// The services of a node's agent, in the order in which they start; they end in the opposite one.
package struct AgentServices {
    package let services: [any Service]

    /// Opens the cache and the sockets: when this returns the agent can be asked, and once the services run it is ready.
    ///
    /// - Throws: `CacheError`, `ListenError`, `ConfigurationProblems`.
    package static func open(
        _ configuration: AgentConfiguration, version: String, configurationFile: ByteString, events: EventLog,
        describe: @escaping @Sendable (any Error) -> RPCFailure
    ) async throws -> (agent: NodeAgent, services: AgentServices) {
        let listener = try Self.listener(configuration)
        let agent = try NodeAgent(configuration, events: events)
        AgentMetrics.register(agent)
        let health = HealthWatch([
            // A disk that fails is no reason to restart the agent: reads go through meanwhile, and a metric tells.
            HealthWatch.Probe("the cache") { [agent] in
                // Their locks are those that everything in the cache needs.
                (_, _) = (agent.cache.limits, agent.cache.condition)
                return nil
            }
        ])
        let reporter = StatusReporter(
            agent, version: version, configurationFile: configurationFile, health: health)
        let server = try RPCServer(
            listener,
            services: [
                AgentService(agent, reporter, describe: describe),
                HealthService { agent.isReady && health.problems.isEmpty },
            ])
        var services: [any Service] = [MountsService(agent: agent), HealthService.Loop(health: health)]
        if let endpoint = try await Self.endpoint(configuration, agent, health) {
            services.append(EndpointService(endpoint: endpoint))
        }
        if let feed = try FeedService.open(configuration, agent, version: version, describe: describe) {
            services.append(feed)
        }
        services.append(
            AdminSocketService(
                server: server, socket: configuration.admin.socket, events: events))
        if let manager = ServiceManager() {
            services.append(ManagerService(manager: manager, agent: agent, health: health))
        }
        // Its place is kept until the process ends.
        listener.keep()
        return (agent, AgentServices(services: services))
    }

    private static func listener(_ configuration: AgentConfiguration) throws -> UnixSocketListener {
        let path = configuration.admin.socket
        var owner: UInt32?
        if let name = configuration.admin.owner {
            guard let user = UserAccount.id(of: name) else {
                throw ListenError(
                    "admin.owner", "there is no user \(ByteString(name))",
                    remedy: "name one, or give a number")
            }
            owner = user
        }
        let directory = ByteString(Array(path.bytes.prefix(path.bytes.lastIndex(of: UInt8(ascii: "/")) ?? 0)))
        if !directory.isEmpty {
            do throws(Errno) { try HostFileSystem().makeDirectories(directory) } catch {
                throw ListenError(
                    "\(directory)", "cannot be made: \(error)", remedy: "name another admin.socket")
            }
        }
        return try UnixSocketListener.open(path, owner: owner)
    }

    private static func endpoint(
        _ configuration: AgentConfiguration, _ agent: NodeAgent, _ health: HealthWatch
    ) async throws(ListenError) -> HTTPEndpoint? {
        let place: HTTPEndpointPlace
        switch configuration.http {
        case .off: return nil
        case .address(let host, let port): place = .address(host: host, port: port)
        case .socket(let path): place = .socket(path)
        }
        let metrics = EndpointMetrics()
        let endpoint = try await HTTPEndpoint.listen(place) { question in
            await metrics.measure { await answer(question, agent, health) }
        }
        if case .address(let host, _) = configuration.http, let port = endpoint.port {
            agent.events.add("listening", "metrics and health on http://\(host):\(port)")
        }
        return endpoint
    }

    private static func answer(
        _ question: HTTPQuestion, _ agent: NodeAgent, _ health: HealthWatch
    ) async -> HTTPAnswer? {
        switch question.path {
        case "/healthz":
            let problems = health.problems
            if problems.isEmpty { return HTTPAnswer(200, "ok\n") }
            return HTTPAnswer(503, problems.map { $0 + "\n" }.joined())
        case "/readyz": return agent.isReady ? HTTPAnswer(200, "ok\n") : HTTPAnswer(503, "not ready\n")
        case "/metrics":
            let format = ExpositionFormat(accept: question.accept)
            guard let body = try? await agent.work.run({ MetricsRegistry.process.exposition(format) })
            else {
                return HTTPAnswer(503, "overloaded\n")
            }
            return HTTPAnswer(200, contentType: format.contentType, body: body)
        default: return nil
        }
    }
}

/// The mounts: they end last, when nobody can ask for new ones.
struct MountsService: Service {
    let agent: NodeAgent

    func run() async throws {
        await withGracefulShutdownHandler {
            await Self.onThread { [agent] in agent.start() }
        } onGracefulShutdown: { [agent] in
            agent.endStart()
        }
        try? await gracefulShutdown()
        // Shielded from the group's cancellation: a mount left behind without a server is worse than a late end.
        await Task.detached { [agent] in await Self.onThread { agent.close() } }.value
    }

    private static func onThread(_ body: @escaping @Sendable () -> Void) async {
        await withCheckedContinuation { continuation in
            do throws(Errno) {
                try Thread(name: "kaml-mounts") {
                    body()
                    continuation.resume()
                }
                .detach()
            } catch {
                body()
                continuation.resume()
            }
        }
    }
}

extension HealthService {
    /// Looks again every few seconds.
    struct Loop: Service {
        static let interval = Duration.seconds(5)
        let health: HealthWatch

        func run() async throws {
            await cancelWhenGracefulShutdown {
                while !Task.isCancelled {
                    health.look()
                    // Cut short by the shutdown, which is no failure.
                    try? await Task.sleep(for: Self.interval)
                }
            }
        }
    }
}

struct EndpointService: Service {
    let endpoint: HTTPEndpoint

    func run() async throws {
        await withTaskCancellationOrGracefulShutdownHandler {
            await endpoint.waitUntilClosed()
        } onCancelOrGracefulShutdown: {
            endpoint.close()
        }
    }
}

struct AdminSocketService: Service {
    let server: RPCServer
    let socket: ByteString
    let events: EventLog

    func run() async throws {
        try await withTaskCancellationOrGracefulShutdownHandler {
            try await server.serve()
        } onCancelOrGracefulShutdown: {
            // Watchers have nothing more to wait for.
            events.close()
            server.beginGracefulShutdown()
        }
        // Who asks from here on is told at once that no agent runs. It is this one's: the place is its until it has ended.
        UnixSocketListener.removeName(socket)
    }
}
