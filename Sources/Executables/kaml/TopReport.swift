import KamlCommand
import KamlProtos
import System

/// What happened between two looks at an agent.
struct TopReport: Report {
    private let before: Kaml_Agent_V1_Status
    private let now: Kaml_Agent_V1_Status
    /// Between them; never 0.
    private let seconds: Double

    init(_ before: Kaml_Agent_V1_Status, _ now: Kaml_Agent_V1_Status) {
        // After a restart in between the numbers began anew.
        let isSame = before.process == now.process && now.monotonicNs > before.monotonicNs
        self.before = isSame ? before : now
        self.now = now
        seconds = isSame ? Double(now.monotonicNs - before.monotonicNs) / 1e9 : 1
    }

    private func rate(_ number: (Kaml_Agent_V1_Status) -> UInt64) -> Double {
        let (first, last) = (number(before), number(now))
        return last > first ? Double(last - first) / seconds : 0
    }

    // MARK: - Numbers

    private struct Tier {
        var name: String
        var reads: Double
        var bytes: Double
    }

    private var tiers: [Tier] {
        now.tiers.map { tier in
            func old(_ status: Kaml_Agent_V1_Status) -> Kaml_Agent_V1_TierTraffic {
                status.tiers.first { $0.tier == tier.tier } ?? Kaml_Agent_V1_TierTraffic()
            }
            return Tier(
                name: tier.tier, reads: rate { old($0).reads }, bytes: rate { old($0).bytes })
        }
    }

    /// The share of bytes that needed nobody outside of this node; nil when nothing was read.
    private static func hitRatio(_ bytes: [(tier: String, bytes: Double)]) -> Double? {
        let all = bytes.reduce(0) { $0 + $1.bytes }
        guard all > 0 else { return nil }
        return bytes.filter { $0.tier == "container" }.reduce(0) { $0 + $1.bytes } / all
    }

    private var hitRatio: Double? { Self.hitRatio(tiers.map { ($0.name, $0.bytes) }) }
    private var hitRatioSinceStart: Double? { Self.hitRatio(now.tiers.map { ($0.tier, Double($0.bytes)) }) }

    private struct Activity {
        var mount: Kaml_Agent_V1_Mount
        var reads: Double
        var bytes: Double
        var opens: Double
        var errors: Double
    }

    /// The busiest first.
    private var mounts: [Activity] {
        now.mounts.map { mount in
            func old(_ status: Kaml_Agent_V1_Status) -> Kaml_Agent_V1_MountActivity {
                status.mounts.first { $0.id == mount.id }?.activity ?? Kaml_Agent_V1_MountActivity()
            }
            return Activity(
                mount: mount, reads: rate { old($0).reads }, bytes: rate { old($0).readBytes },
                opens: rate { old($0).opens }, errors: rate { old($0).errors })
        }
        .sorted { ($0.bytes, $0.reads) > ($1.bytes, $1.reads) }
    }

    private var processorShare: Double {
        max(0, now.resources.cpuSeconds - before.resources.cpuSeconds) / seconds
    }

    // MARK: - For programs

    var value: OutputValue {
        var object = OutputObject([
            "version": .string(now.version), "node": .string(now.node),
            "process": .integer(Int64(now.process)), "ready": .bool(now.ready),
            "problems": .list(now.problems.map(OutputValue.string)), "seconds": .seconds(seconds),
            "tiers": .list(
                tiers.map {
                    [
                        "tier": .string($0.name), "readsPerSecond": .seconds($0.reads),
                        "bytesPerSecond": .seconds($0.bytes),
                    ]
                }),
            "fetchesPerSecond": .seconds(rate { $0.cache.fetchRequests }),
            "storeRequestsPerSecond": .seconds(rate { $0.stores.requests }),
            "storeRetriesPerSecond": .seconds(rate { $0.stores.retries }),
            "fetchedBytesPerSecond": .seconds(rate { $0.cache.fetchedBytes }),
            "cacheBytes": .unsigned(now.cache.allocatedBytes),
            "cacheLimitBytes": .unsigned(now.cache.limitBytes),
            "processors": .seconds(processorShare),
            "residentBytes": .unsigned(now.resources.residentBytes),
            "anonymousBytes": .unsigned(now.resources.anonymousBytes),
        ])
        object["hitRatio"] = .ratio(hitRatio)
        object["hitRatioSinceStart"] = .ratio(hitRatioSinceStart)
        object["mounts"] = .list(
            mounts.map { activity in
                guard case .object(var fields) = StatusReport.value(activity.mount) else { return .null }
                fields["readsPerSecond"] = .seconds(activity.reads)
                fields["bytesPerSecond"] = .seconds(activity.bytes)
                fields["opensPerSecond"] = .seconds(activity.opens)
                fields["errorsPerSecond"] = .seconds(activity.errors)
                return .object(fields)
            })
        object["slowestReads"] = .list(now.slowRequests.map(Self.value))
        return object.value
    }

    private static func value(_ slow: Kaml_Agent_V1_SlowRequest) -> OutputValue {
        var object = OutputObject([
            "seconds": .seconds(Double(slow.nanoseconds) / 1e9), "dataset": .string(slow.dataset),
            "bytes": .unsigned(slow.bytes), "failed": .bool(slow.failed), "inFlight": .bool(slow.inFlight),
        ])
        if !slow.inFlight { object["ended"] = .time(Timestamp(unixNanoseconds: slow.endedUnixNs)) }
        if !slow.traceID.isEmpty { object["traceId"] = .string(slow.traceID) }
        return object.value
    }

    // MARK: - For people

    private static let shownMounts = 12
    private static let shownReads = 5

    func render() -> String {
        var text = header + traffic + "\n"
        var table = Table(
            [
                .init("MOUNT POINT"), .init("NAME"), .init("STATE"), .init("READS/S", .right),
                .init("BYTES/S", .right), .init("OPENS/S", .right), .init("ERRORS", .right),
            ], emptyText: "nothing is mounted")
        for activity in mounts.prefix(Self.shownMounts) {
            table.add([
                "\(ByteString(Array(activity.mount.mountPoint)))", activity.mount.name,
                StatusReport.word(activity.mount.state), Self.number(activity.reads),
                BytesText.rate(activity.bytes), Self.number(activity.opens),
                CountText.of(activity.mount.activity.errors),
            ])
        }
        text += table.render()
        let more = now.mounts.count - Self.shownMounts
        if more > 0 { text += "and \(CountText.of(UInt64(more), "mount")) more\n" }
        return text + slowest
    }

    private var header: String {
        let up = max(0, Double(HostClock().now().seconds) - Double(now.startedUnixNs) / 1e9)
        var text =
            "kamld \(CellText.safe(now.version)) on \(CellText.safe(now.node)), up \(DurationText.of(up)), "
            + "\(now.ready ? "ready" : "not ready"); \(Decimals.text(processorShare * 100, 0))% processor, "
            + "\(BytesText.of(now.resources.residentBytes)) memory\n"
        for problem in now.problems { text += "problem: \(CellText.safe(problem))\n" }
        if !now.cache.degraded.isEmpty { text += "problem: \(CellText.safe(now.cache.degraded))\n" }
        let limit =
            now.cache.limitBytes > 0 ? " of \(BytesText.of(now.cache.limitBytes))" : ", no limit of bytes"
        return text
            + "cache \(ByteString(Array(now.cache.directory))): \(BytesText.of(now.cache.allocatedBytes))\(limit)\n"
    }

    private var traffic: String {
        var text =
            "hit ratio \(Self.percent(hitRatio)), since the start \(Self.percent(hitRatioSinceStart)); "
        text += "fetches: \(Self.number(rate { $0.cache.fetchRequests }))/s, "
        text += "\(BytesText.rate(rate { $0.cache.fetchedBytes })); "
        text +=
            "requests to stores: \(CountText.of(now.stores.retries)) retried, \(CountText.of(now.stores.failures)) failed\n\n"
        var table = Table([.init("TIER"), .init("READS/S", .right), .init("BYTES/S", .right)])
        for tier in tiers { table.add([tier.name, Self.number(tier.reads), BytesText.rate(tier.bytes)]) }
        return text + table.render()
    }

    private var slowest: String {
        let reads = now.slowRequests.prefix(Self.shownReads)
        guard !reads.isEmpty else { return "" }
        var table = Table([
            .init("SLOWEST READS", .right), .init("DATASET"), .init("BYTES", .right), .init("ENDED"),
            .init("TRACE"),
        ])
        for read in reads {
            let ended =
                read.inFlight ? "under way" : TimeText.local(Timestamp(unixNanoseconds: read.endedUnixNs))
            table.add([
                DurationText.of(Double(read.nanoseconds) / 1e9), read.dataset, BytesText.of(read.bytes),
                read.failed ? "failed \(ended)" : ended, read.traceID,
            ])
        }
        return "\n" + table.render()
    }

    private static func number(_ rate: Double) -> String {
        rate < 10 ? Decimals.text(rate, 1) : CountText.of(UInt64(min(rate, 1e18)))
    }

    private static func percent(_ ratio: Double?) -> String {
        ratio.map { Decimals.text($0 * 100, 1) + "%" } ?? "-"
    }
}
