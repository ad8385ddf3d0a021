package import System

/// How much of a snapshot a node's cache has, or got, whoever looked or fetched.
package struct WarmFigures: Sendable {
    /// The snapshot as the user named it, and its id in hexadecimal.
    package var name: String
    package var snapshot: String
    /// The cache's.
    package var directory: ByteString
    package var files: UInt64 = 0
    package var packs: UInt64 = 0
    package var chunks: UInt64 = 0
    package var presentChunks: UInt64 = 0
    package var bytes: UInt64 = 0
    package var presentBytes: UInt64 = 0
    package var fetchedBytes: UInt64 = 0
    package var failedFetches: UInt64 = 0
    package var failures: [OutputValue] = []
    package var isInterrupted = false

    package init(name: String, snapshot: String, directory: ByteString) {
        self.name = name
        self.snapshot = snapshot
        self.directory = directory
    }

    package var isComplete: Bool { presentChunks == chunks }
}

/// What `kaml warm` answers.
package struct WarmText: Report {
    private let figures: WarmFigures
    /// Nil when nothing was to be fetched: a check.
    private let seconds: Double?

    package init(_ figures: WarmFigures, seconds: Double?) {
        self.figures = figures
        self.seconds = seconds
    }

    package var value: OutputValue {
        var object = OutputObject([
            "name": .string(figures.name), "snapshot": .string(figures.snapshot),
            "complete": .bool(figures.isComplete), "files": .unsigned(figures.files),
            "chunks": .unsigned(figures.chunks), "bytes": .unsigned(figures.bytes),
            "presentChunks": .unsigned(figures.presentChunks),
            "presentBytes": .unsigned(figures.presentBytes), "packs": .unsigned(figures.packs),
        ])
        object.set("cacheDirectory", figures.directory)
        if let seconds {
            object["fetchedBytes"] = .unsigned(figures.fetchedBytes)
            object["failedFetches"] = .unsigned(figures.failedFetches)
            object["failures"] = .list(figures.failures)
            object["interrupted"] = .bool(figures.isInterrupted)
            object["seconds"] = .seconds(seconds)
        }
        return object.value
    }

    package func render() -> String {
        var text = ""
        let name = CellText.safe(figures.name)
        let contents = "\(CountText.of(figures.files, "file")), \(BytesText.of(figures.bytes))"
        if figures.isComplete {
            text += "\(name) is in \(figures.directory): \(contents)\n"
        } else {
            let share =
                figures.bytes > 0 ? Double(figures.presentBytes) / Double(figures.bytes) * 100 : 0
            // Not a hundred while anything is missing.
            text += "\(Decimals.text(min(99.9, share), 1))% of \(name) is in \(figures.directory): "
            text += "\(BytesText.of(figures.presentBytes)) of \(contents)\n"
        }
        guard let seconds else { return text }
        let fetched = figures.fetchedBytes
        if fetched > 0 {
            text += "fetched \(BytesText.of(fetched)), every chunk verified, in \(DurationText.of(seconds))"
            if seconds > 0.01 { text += " (\(BytesText.rate(Double(fetched) / seconds)))" }
            text += "\n"
        } else if figures.isComplete {
            text += "nothing was missing\n"
        }
        if figures.isInterrupted { text += "interrupted; run it again to fetch the rest\n" }
        return text
    }
}
