import Chunking
package import DatasetStore
package import NodeCache
package import System

/// How much of a snapshot a node's cache has, or got.
package struct WarmText: Report {
    private let name: String
    private let snapshot: ContentHash
    private let directory: ByteString
    private let plan: WarmPlan
    private let report: WarmReport
    /// Nil when nothing was to be fetched: a check.
    private let seconds: Double?

    /// `name` is the snapshot as the user named it, `directory` the cache's.
    package init(
        _ name: String, _ snapshot: Snapshot, in directory: ByteString, _ plan: WarmPlan,
        _ report: WarmReport,
        seconds: Double?
    ) {
        self.name = name
        self.snapshot = snapshot.id
        self.directory = directory
        self.plan = plan
        self.report = report
        self.seconds = seconds
    }

    package var value: OutputValue {
        var object = OutputObject([
            "name": .string(name), "snapshot": .string(snapshot.hex), "complete": .bool(report.isComplete),
            "files": .unsigned(plan.files), "chunks": .count(report.chunks), "bytes": .unsigned(report.bytes),
            "presentChunks": .count(report.presentChunks), "presentBytes": .unsigned(report.presentBytes),
            "packs": .count(plan.packCount),
        ])
        object.set("cacheDirectory", directory)
        if let seconds {
            object["fetchedBytes"] = .unsigned(report.fetchedBytes)
            object["failedFetches"] = .count(report.failureCount)
            object["failures"] = .list(report.failures.map { Failure($0).errorValue })
            object["interrupted"] = .bool(report.isInterrupted)
            object["seconds"] = .seconds(seconds)
        }
        return object.value
    }

    package func render() -> String {
        var text = ""
        let contents = "\(CountText.of(plan.files, "file")), \(BytesText.of(report.bytes))"
        if report.isComplete {
            text += "\(name) is in \(directory): \(contents)\n"
        } else {
            let share = report.bytes > 0 ? Double(report.presentBytes) / Double(report.bytes) * 100 : 0
            // Not a hundred while anything is missing.
            text += "\(Decimals.text(min(99.9, share), 1))% of \(name) is in \(directory): "
            text += "\(BytesText.of(report.presentBytes)) of \(contents)\n"
        }
        guard let seconds else { return text }
        if report.fetchedBytes > 0 {
            text +=
                "fetched \(BytesText.of(report.fetchedBytes)), every chunk verified, in \(DurationText.of(seconds))"
            if seconds > 0.01 { text += " (\(BytesText.rate(Double(report.fetchedBytes) / seconds)))" }
            text += "\n"
        } else if report.isComplete {
            text += "nothing was missing\n"
        }
        if report.isInterrupted { text += "interrupted; run it again to fetch the rest\n" }
        return text
    }
}
