import Chunking
package import DatasetStore

/// What a commit did.
package struct CommitReport: Report {
    private let dataset: DatasetName
    private let branch: RefName
    private let result: CommitResult

    private let hasMessage: Bool

    /// `hasMessage`: somebody gave a message or facts, which an unchanged tree has no commit to keep them in.
    package init(
        _ dataset: DatasetName, _ branch: RefName, _ result: CommitResult, hasMessage: Bool = false
    ) {
        self.hasMessage = hasMessage
        self.dataset = dataset
        self.branch = branch
        self.result = result
    }

    package var value: OutputValue {
        var object = OutputObject([
            "dataset": .string(dataset.text), "branch": .string(branch.text),
            "snapshot": .string(result.snapshot.hex), "changed": .bool(!result.nothingChanged),
            "files": .unsigned(result.files), "bytes": .unsigned(result.bytes),
            "newBytes": .unsigned(result.newBytes), "storedBytes": .unsigned(result.storedBytes),
            "packBytes": .unsigned(result.packBytes), "reusedFiles": .unsigned(result.reusedFiles),
            "readFiles": .unsigned(result.readFiles), "prefixFrames": .unsigned(result.prefixFrames),
            "skippedSpecial": .unsigned(result.skippedSpecial),
            "skippedUnreadable": .unsigned(result.skippedUnreadable),
            "changedWhileRead": .unsigned(result.changedWhileRead), "seconds": .seconds(result.seconds),
        ])
        object["sequence"] = result.sequence.map(OutputValue.unsigned)
        object["parent"] = result.parent.map { .string($0.hex) }
        return object.value
    }

    package func render() -> String {
        let name = "\(dataset)@\(branch)"
        let contents = "\(CountText.of(result.files, "file")), \(BytesText.of(result.bytes))"
        if result.nothingChanged {
            let dropped = hasMessage ? "nothing was recorded, and the message was dropped\n" : ""
            return
                "\(name) is unchanged at \(ShortID.of(result.snapshot)): \(contents), in \(DurationText.of(result.seconds))\n"
                + dropped
        }
        var text = "\(name) is now \(ShortID.of(result.snapshot)): \(contents)\n"
        text += "new data \(BytesText.of(result.newBytes)), stored \(BytesText.of(result.storedBytes))"
        if result.reusedFiles > 0 {
            text += ", \(CountText.of(result.reusedFiles, "file")) taken over unread"
        }
        text += ", in \(DurationText.of(result.seconds))"
        if result.seconds > 0.01 {
            text += " (\(BytesText.rate(Double(result.bytes) / result.seconds)))"
        }
        return text + "\n"
    }
}

/// What an export did.
package struct ExportReport: Report {
    private let target: String
    private let result: ExportResult
    private let seconds: Double

    package init(_ target: String, _ result: ExportResult, seconds: Double) {
        self.target = target
        self.result = result
        self.seconds = seconds
    }

    package var value: OutputValue {
        [
            "target": .string(target), "files": .unsigned(result.files),
            "directories": .unsigned(result.directories),
            "symlinks": .unsigned(result.symlinks), "hardLinks": .unsigned(result.hardLinks),
            "bytes": .unsigned(result.bytes), "failedFiles": .unsigned(result.failedFiles),
            "lostAttributes": .unsigned(result.lostAttributes),
            "failures": .list(result.failures.map { Failure($0).errorValue }), "seconds": .seconds(seconds),
        ]
    }

    package func render() -> String {
        var text = "\(CountText.of(result.files, "file")), \(BytesText.of(result.bytes)) written to \(target)"
        text += " in \(DurationText.of(seconds))"
        // Only a whole export is called verified: what was left out is what matters then.
        text +=
            result.failedFiles == 0
            ? ", every byte verified\n"
            : "; \(CountText.of(result.failedFiles, "file is", "files are")) left out\n"
        for failure in result.failures {
            text += "not written: \(failure.path ?? "?"): \(failure.message)\n"
        }
        return text
    }
}
