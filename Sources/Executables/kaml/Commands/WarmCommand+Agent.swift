import FoundationEssentials
import GRPCCore
import KamlCommand
import KamlProtos
import KamlRPC
import System

extension WarmCommand {
    /// Has the agent do it, in its cache.
    func askAgent() throws {
        guard cacheDir == nil else {
            throw Failure(.usage, "an agent has one cache", hint: "leave out --cache-dir, or give --no-agent")
        }
        let target = try store.target(snapshot)
        if evict { return answer(try evict(target)) }
        let clock = HostClock()
        let start = clock.monotonicNanoseconds()
        let report = try warm(target)
        let seconds = Double(clock.monotonicNanoseconds() - start) / 1e9
        try finish(WarmFigures(report), seconds, firstFailure: report.failures.first)
    }

    private func evict(_ target: Kaml_Agent_V1_Target) throws -> Done {
        var request = Kaml_Agent_V1_EvictRequest()
        request.target = target
        request.forget = forget
        let asked = request
        let reply = try agent.agent.call { try await $0.evict(asked) }
        return Self.evicted(
            reply.name, reply.snapshot, ByteString(Array(reply.cacheDirectory)), packs: reply.packs,
            bytes: reply.freedBytes, kept: reply.keptPacks)
    }

    /// Ctrl-C ends this process, and with its connection the agent's work; what was fetched stays.
    private func warm(_ target: Kaml_Agent_V1_Target) throws -> Kaml_Agent_V1_WarmReport {
        var request = Kaml_Agent_V1_WarmRequest()
        request.target = target
        request.paths = paths.map { Data(RawArguments.bytes(of: $0).bytes) }
        request.threads = UInt32(clamping: threads)
        request.checkOnly = check
        let asked = request
        let latest = Monitor(Kaml_Agent_V1_WarmProgress())
        return try ProgressBar.during(
            {
                let progress = latest.withLock { $0 }
                return ProgressState(
                    label: progress.phase, done: progress.fetchedBytes,
                    total: progress.totalBytes > 0 ? progress.totalBytes : nil,
                    note: progress.chunks > 0 ? "\(CountText.of(progress.chunks)) chunks" : "")
            }
        ) {
            try agent.agent.call { client in
                try await client.warm(asked) { response in
                    for try await update in response.messages {
                        switch update.update {
                        case .progress(let progress): latest.withLock { $0 = progress }
                        case .report(let report): return report
                        case nil: continue
                        }
                    }
                    throw Failure(
                        .unavailable, "the agent ended before the work did",
                        hint: "run it again; what was fetched stays")
                }
            }
        }
    }
}

extension WarmFigures {
    init(_ report: Kaml_Agent_V1_WarmReport) {
        self.init(
            name: report.name, snapshot: report.snapshot,
            directory: ByteString(Array(report.cacheDirectory)))
        files = report.files
        packs = report.packs
        chunks = report.chunks
        presentChunks = report.presentChunks
        bytes = report.bytes
        presentBytes = report.presentBytes
        fetchedBytes = report.fetchedBytes
        failedFetches = report.failureCount
        failures = report.failures.map { ["message": .string($0)] }
        isInterrupted = report.interrupted
    }
}
