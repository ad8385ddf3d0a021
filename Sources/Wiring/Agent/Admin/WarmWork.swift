import FoundationEssentials
import Chunking
import DatasetStore
import KamlProtos
import NodeCache
import ObjectStore
import Synchronization
import System
import SwiftProtobuf

/// One Warm call: the work, and its progress while it runs.
final class WarmWork: Sendable {
    static let reportInterval = Duration.milliseconds(200)
    private static let defaultThreads = 8
    private static let mostThreads = 64
    private static let mostPaths = 100_000

    private let request: Kaml_Agent_V1_WarmRequest
    private let counter = WorkCounter()
    private let isCancelled = Atomic(false)

    init(_ request: Kaml_Agent_V1_WarmRequest) {
        self.request = request
        counter.begin("manifests")
    }

    func cancel() { isCancelled.store(true, ordering: .relaxed) }

    /// Nil when there is nothing to tell.
    var progress: Kaml_Agent_V1_WarmUpdate? {
        if request.checkOnly { return nil }
        return .with { update in
            update.progress = .with {
                $0.phase = counter.phase
                $0.fetchedBytes = counter.bytes.load(ordering: .relaxed)
                $0.totalBytes = counter.totalBytes.load(ordering: .relaxed)
                $0.chunks = counter.items.load(ordering: .relaxed)
            }
        }
    }

    /// Blocks.
    func run(_ agent: NodeAgent) throws -> Kaml_Agent_V1_WarmReport {
        let target = try CheckedTarget(request.target)
        guard request.threads <= Self.mostThreads else {
            throw AgentError.invalid("too many threads", hint: "1 to \(Self.mostThreads)")
        }
        guard request.paths.count <= Self.mostPaths else {
            throw AgentError.invalid("too many paths", hint: "at most \(Self.mostPaths); name directories")
        }
        let found = try agent.open(target.reference, in: target.store)
        let plan = try WarmPlan(found.snapshot, paths: request.paths.map { ByteString(Array($0)) })
        let report: WarmReport
        if request.checkOnly {
            report = agent.cache.residency(of: plan)
        } else {
            let threads = request.threads == 0 ? Self.defaultThreads : Int(request.threads)
            report = try agent.cache.warm(
                plan, origin: found.store.objects, threads: threads, progress: counter
            ) {
                self.isCancelled.load(ordering: .relaxed)
            }
        }
        return .with {
            $0.name = found.name
            $0.snapshot = found.snapshot.id.hex
            $0.chunks = UInt64(report.chunks)
            $0.presentChunks = UInt64(report.presentChunks)
            $0.bytes = report.bytes
            $0.presentBytes = report.presentBytes
            $0.fetchedBytes = report.fetchedBytes
            $0.failures = report.failures.map(\.description)
            $0.failureCount = UInt64(report.failureCount)
            $0.interrupted = report.isInterrupted
            $0.cacheDirectory = Data(agent.configuration.cache.directory.bytes)
            $0.packs = UInt64(plan.packCount)
            $0.files = plan.files
        }
    }
}
