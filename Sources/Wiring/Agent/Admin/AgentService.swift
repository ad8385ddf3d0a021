package import GRPCCore
package import KamlProtos
package import KamlRPC
import Chunking
import DatasetStore
import NodeCache
import ObjectStore
import Synchronization
import System
import SwiftProtobuf

/// `kaml.agent.v1.Agent` for a node's agent: checks what comes in, does it on a thread of its own, and puts the answer
/// into messages.
package struct AgentService: Kaml_Agent_V1_Agent.SimpleServiceProtocol {
    private let agent: NodeAgent
    private let reporter: StatusReporter
    /// Any error in the words that a command would have for it.
    private let describe: @Sendable (any Error) -> RPCFailure

    package init(
        _ agent: NodeAgent, _ reporter: StatusReporter,
        describe: @escaping @Sendable (any Error) -> RPCFailure
    ) {
        self.agent = agent
        self.reporter = reporter
        self.describe = describe
    }

    /// On a thread that may block; every error leaves in its wire form.
    private func blocking<Answer: Sendable>(
        _ body: @escaping @Sendable () throws -> Answer
    ) async throws -> Answer {
        do { return try await agent.work.run(body) } catch { throw failure(error) }
    }

    private func failure(_ error: any Error) -> any Error {
        if let error = error as? AgentError { return error.failure }
        return describe(error)
    }

    // MARK: - Mounts

    package func mount(
        request: Kaml_Agent_V1_MountRequest, context: ServerContext
    ) async throws -> Kaml_Agent_V1_MountReply {
        try await blocking { [agent] in
            try agent.requireStart()
            let (record, existed) = try agent.mounts.mount(try MountRequest(request))
            var reply = Kaml_Agent_V1_MountReply()
            reply.mount = Kaml_Agent_V1_Mount(record, agent.mounts.activity(of: record.id))
            reply.existed = existed
            return reply
        }
    }

    package func unmount(
        request: Kaml_Agent_V1_UnmountRequest, context: ServerContext
    ) async throws -> Kaml_Agent_V1_UnmountReply {
        try await blocking { [agent] in
            let target: MountRegistry.Target =
                request.mountPoint.isEmpty
                ? .id(try RequestText.bounded(request.id, "a mount's id"))
                : .mountPoint(try MountPointText.checked(Array(request.mountPoint)))
            let record = try agent.mounts.unmount(target, lazily: request.lazy)
            var reply = Kaml_Agent_V1_UnmountReply()
            reply.mount = Kaml_Agent_V1_Mount(agent.mounts[record.id] ?? record, nil)
            return reply
        }
    }

    package func listMounts(
        request: Kaml_Agent_V1_ListMountsRequest, context: ServerContext
    ) async throws -> Kaml_Agent_V1_ListMountsReply {
        var reply = Kaml_Agent_V1_ListMountsReply()
        reply.mounts = reporter.mounts()
        return reply
    }

    // MARK: - The cache

    package func warm(
        request: Kaml_Agent_V1_WarmRequest, response: RPCWriter<Kaml_Agent_V1_WarmUpdate>,
        context: ServerContext
    ) async throws {
        let work = WarmWork(request)
        do {
            try await withThrowingTaskGroup(of: Kaml_Agent_V1_WarmReport?.self) { group in
                group.addTask { [agent] in
                    try await withTaskCancellationHandler {
                        try await agent.work.run { try work.run(agent) }
                    } onCancel: {
                        work.cancel()
                    }
                }
                group.addTask {
                    while true {
                        try await Task.sleep(for: WarmWork.reportInterval)
                        if let progress = work.progress { try await response.write(progress) }
                    }
                }
                while let report = try await group.next() {
                    guard let report else { continue }
                    group.cancelAll()
                    try await response.write(.with { $0.report = report })
                    return
                }
            }
        } catch {
            throw failure(error)
        }
    }

    package func evict(
        request: Kaml_Agent_V1_EvictRequest, context: ServerContext
    ) async throws -> Kaml_Agent_V1_EvictReply {
        try await blocking { [agent] in
            let target = try CheckedTarget(request.target)
            let found = try agent.open(target.reference, in: target.store)
            let report = try agent.cache.evict(found.snapshot.packs, forgetting: request.forget)
            var reply = Kaml_Agent_V1_EvictReply()
            reply.name = found.name
            reply.snapshot = found.snapshot.id.hex
            reply.packs = UInt64(report.packs)
            reply.freedBytes = report.bytes
            reply.keptPacks = UInt64(report.kept)
            reply.cacheDirectory = .init(agent.configuration.cache.directory.bytes)
            return reply
        }
    }

    package func pin(
        request: Kaml_Agent_V1_PinRequest, context: ServerContext
    ) async throws -> Kaml_Agent_V1_PinReply {
        try await blocking { [agent] in
            let target = try CheckedTarget(request.target)
            guard request.leaseSeconds <= Self.longestLease else {
                throw AgentError.invalid(
                    "the lease is too long", hint: "at most \(Self.longestLease) seconds")
            }
            let found = try agent.open(target.reference, in: target.store)
            // One for each snapshot: asked again, it is prolonged.
            let name = SnapshotPin.leaseName(found.snapshot.id)
            var reply = Kaml_Agent_V1_PinReply()
            reply.name = found.name
            reply.snapshot = found.snapshot.id.hex
            guard request.leaseSeconds > 0 else {
                try agent.cache.unpin(name)
                return reply
            }
            var end = HostClock().now()
            end.seconds += Int64(request.leaseSeconds)
            try agent.cache.pin(PinLease(name: name, end: end, plan: try WarmPlan(found.snapshot, paths: [])))
            reply.untilUnixNs = end.unixNanoseconds
            return reply
        }
    }

    /// Ten years, in seconds.
    private static let longestLease: UInt64 = 10 * 366 * 24 * 3600

    // MARK: - Telling

    package func getStatus(
        request: Kaml_Agent_V1_GetStatusRequest, context: ServerContext
    ) async throws -> Kaml_Agent_V1_Status {
        try await blocking { [reporter] in reporter.status() }
    }

    package func watchEvents(
        request: Kaml_Agent_V1_WatchEventsRequest, response: RPCWriter<Kaml_Agent_V1_Event>,
        context: ServerContext
    ) async throws {
        if request.onlyRemembered {
            for event in agent.events.remembered(after: request.afterSequence) {
                try await response.write(Kaml_Agent_V1_Event(event))
            }
            return
        }
        for await event in agent.events.events(after: request.afterSequence) {
            try await response.write(Kaml_Agent_V1_Event(event))
        }
    }

    package func collectDebugFiles(
        request: Kaml_Agent_V1_CollectDebugFilesRequest, response: RPCWriter<Kaml_Agent_V1_DebugFile>,
        context: ServerContext
    ) async throws {
        let files = try await blocking { [reporter] in reporter.debugFiles() }
        for file in files {
            // Well below what a client takes as one message.
            var rest = file.bytes[...]
            repeat {
                let piece = rest.prefix(DebugFiles.pieceBytes)
                rest = rest.dropFirst(piece.count)
                try await response.write(
                    .with {
                        $0.name = file.name
                        $0.data = .init(piece)
                    })
            } while !rest.isEmpty
        }
    }
}

extension AgentError {
    package var failure: RPCFailure {
        RPCFailure(reason: reason, message: message, fields: ["hint": hint])
    }
}
