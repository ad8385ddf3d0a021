import Chunking
import FoundationEssentials
import FuseMount
import HTTPExchange
package import KamlProtos
import NodeCache
import Observability
package import System
import SwiftProtobuf
package import Telemetry

/// Puts together what an agent tells of itself.
package struct StatusReporter: Sendable {
    private let agent: NodeAgent
    private let version: String
    private let configurationFile: ByteString
    private let health: HealthWatch
    private let registry: MetricsRegistry
    private let readDurations: Histogram<TierLabel>
    private let readBytes: Counter<TierLabel>

    package init(
        _ agent: NodeAgent, version: String, configurationFile: ByteString, health: HealthWatch,
        registry: MetricsRegistry = .process
    ) {
        self.agent = agent
        self.version = version
        self.configurationFile = configurationFile
        self.health = health
        self.registry = registry
        readDurations = registry.histogram(MetricCatalogue.readDurationSeconds)
        readBytes = registry.counter(MetricCatalogue.readBytes)
    }

    package func mounts() -> [Kaml_Agent_V1_Mount] {
        agent.mounts.records.map { Kaml_Agent_V1_Mount($0, agent.mounts.activity(of: $0.id)) }
    }

    /// Blocks: looks at the cache's files.
    package func status() -> Kaml_Agent_V1_Status {
        let configuration = agent.configuration
        var status = Kaml_Agent_V1_Status()
        status.version = version
        status.node = configuration.node
        status.process = ProcessFacts.processID
        status.startedUnixNs = agent.started.unixNanoseconds
        status.monotonicNs = HostClock().monotonicNanoseconds()
        status.ready = agent.isReady
        status.problems = health.problems
        if let trouble = agent.holderWatch?.trouble { status.problems.append(trouble) }
        status.cache = cache(configuration)
        status.mounts = mounts()
        let traffic = agent.stores.traffic
        status.stores = .with {
            $0.requests = traffic.requests
            $0.retries = traffic.retries
            $0.hedges = traffic.hedges
            $0.failures = traffic.failures
        }
        status.resources = ProcessFacts.resources()
        status.slowRequests = SlowReads.process.slowest().map(Kaml_Agent_V1_SlowRequest.init)
        status.tiers = TierLabel.allCases.map { tier in
            .with {
                $0.tier = "\(tier)"
                $0.reads = readDurations.count(tier)
                $0.bytes = readBytes.value(tier)
            }
        }
        status.pins = agent.pins.map { lease in
            .with {
                $0.snapshot = lease.snapshot.hex
                $0.untilUnixNs = lease.end.unixNanoseconds
                $0.packs = UInt64(lease.packs)
            }
        }
        status.mountHolding = agent.holderWatch == nil ? "none" : "holder"
        status.configurationFile = Data(configurationFile.bytes)
        return status
    }

    private func cache(_ configuration: AgentConfiguration) -> Kaml_Agent_V1_CacheStatus {
        let status = agent.cache.status()
        let statistics = status.totals
        return .with {
            $0.directory = Data(configuration.cache.directory.bytes)
            $0.allocatedBytes = statistics.allocatedBytes
            $0.limitBytes = configuration.cache.maximumBytes
            $0.containers = statistics.containers
            $0.completeContainers = statistics.completeContainers
            $0.fetchedBytes = statistics.fetchedBytes
            $0.fetchRequests = statistics.fetchRequests
            $0.manifestBytes = statistics.manifestBytes
            $0.filledBytes = statistics.filledBytes
            $0.verifiedChunks = statistics.verifiedChunks
            $0.failedChunks = statistics.failedChunks
            $0.readThroughs = statistics.readThroughs
            $0.evictedBytes = statistics.evictedBytes
            $0.encrypted = agent.cache.isSealed
            if status.condition != .healthy { $0.degraded = status.condition.description }
        }
    }

    /// Blocks.
    package func debugFiles() -> [DebugFile] {
        var files = DebugFiles.ofProcess()
        files.append(DebugFile("kamld.yaml", agent.configuration.rendered(withComments: false)))
        files.append(DebugFile("metrics.txt", registry.exposition(.prometheusText)))
        let events = agent.events.remembered().map {
            "\($0.time.unixNanoseconds) \($0.severity) \($0.kind) \($0.mount) \(ByteString($0.message))\n"
        }
        files.append(DebugFile("events.txt", events.joined()))
        return files.map { DebugFile($0.name, SecretWords.redacted($0.bytes)) }
    }
}
