import FuseSession
import HTTPExchange
import Telemetry

/// What a scrape is told of the agent as a whole.
enum AgentMetrics {
    /// Digits of a snapshot's id that tell it from others.
    private static let snapshotDigits = 12

    /// Asks the agent at every scrape, without keeping it.
    static func register(_ agent: NodeAgent, in registry: MetricsRegistry = .process) {
        // From the start on, so that a first event shows as a step from 0.
        _ = StoreMetrics.process
        _ = registry.counter(MetricCatalogue.agentTakeovers)
        _ = registry.histogram(MetricCatalogue.agentTakeoverSeconds)
        registry.collect { [weak agent] collection in
            guard let agent else { return }
            collection.add(MetricCatalogue.agentReady, agent.isReady ? 1 : 0)
            for record in agent.mounts.records {
                let profile: String =
                    switch record.profile {
                    case .passthrough: "large"
                    case .zeroMessageOpen: "small"
                    case nil: ""
                    }
                collection.add(
                    MetricCatalogue.mountInfo,
                    [
                        MountDescription.dataset(ofName: record.name),
                        String(record.snapshot.prefix(snapshotDigits)), profile,
                    ], 1)
            }
        }
    }
}

extension MountDescription {
    /// The dataset of `dataset@ref`: what metrics are labelled with, since refs come and go.
    var dataset: String { Self.dataset(ofName: name) }

    static func dataset(ofName name: String) -> String { String(name.prefix { $0 != "@" }) }
}
