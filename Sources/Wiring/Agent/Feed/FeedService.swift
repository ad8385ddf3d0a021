import HTTPExchange
import KamlRPC
import MountHolder
import RecordFeed
import RecordIndex
import ServiceLifecycle
import System
import Transport

/// Feeds pods from the node's cache, over a socket of its own.
struct FeedService: Service {
    let server: FeedServer
    let indexes: RecordIndexes
    let agent: NodeAgent
    /// The socket's, until the process ends.
    let place: FeedSocket

    /// Listens; pods are answered once the service runs.
    ///
    /// - Throws: `ListenError`.
    static func open(
        _ configuration: AgentConfiguration, _ agent: NodeAgent, version: String,
        describe: @escaping @Sendable (any Error) -> RPCFailure
    ) throws -> FeedService? {
        guard configuration.feed.isEnabled else { return nil }
        let place = try FeedSocket.take(configuration.feedSocket)
        let socket = try place.listen()
        let indexes = RecordIndexes(directory: configuration.cache.directory.appending("indexes"))
        var options = FeedOptions()
        options.sessions.sessions = configuration.feed.maximumSessions
        options.sessions.sessionsOfUser = configuration.feed.maximumSessionsOfUser
        options.sessionMemory = Int(clamping: configuration.feed.sessionMemory)
        options.memory = Int(clamping: configuration.feed.memory)
        options.agent = "kamld \(version)"
        let lending = lending(configuration.cache.directory, agent.holder)
        do throws(Errno) {
            let server = try FeedServer(
                listener: socket, datasets: AgentFeedDatasets(agent, describe: describe), indexes: indexes,
                lending: lending,
                options: options
            ) { [events = agent.events] in events.add("feedNotice", $0, severity: .warning) }
            agent.events.add("listening", "feeds on \(configuration.feedSocket)")
            return FeedService(server: server, indexes: indexes, agent: agent, place: place)
        } catch {
            throw ListenError(
                "\(configuration.feedSocket)", "feeds cannot be served: \(error)",
                remedy: "set feed.enabled to false")
        }
    }

    /// By this process's own privileges where it has them, else by the holder's.
    private static func lending(_ directory: ByteString, _ holder: HolderClient?) -> FeedLending {
        FeedLending {
            do throws(Errno) {
                return .success(ContainerFiles(tree: try ReadOnlyTree.make(of: directory)))
            } catch {
                guard let holder else {
                    return .failure(
                        .no(
                            "a read-only copy of the cache's mount needs kamld-holder, or CAP_SYS_ADMIN (\(error))"
                        ))
                }
                do throws(HolderError) {
                    return .success(ContainerFiles(tree: try holder.readOnlyTree(of: directory)))
                } catch {
                    return .failure(.no("\(error)"))
                }
            }
        }
    }

    func run() async throws {
        try server.start()
        try? await gracefulShutdown()
        // Pods see the socket close, and come to the next agent.
        await Task.detached { [self] in
            try? await agent.work.run { server.stop() }
            indexes.stop()
        }.value
    }
}
