import Chunking
package import DatasetStore

/// What a push, pull or clone did.
package struct TransferReport: Report {
    private let from: String
    private let to: String
    private let result: TransferResult

    /// The stores' URLs.
    package init(from: String, to: String, _ result: TransferResult) {
        self.from = from
        self.to = to
        self.result = result
    }

    package var value: OutputValue {
        var object = OutputObject(fields)
        if result.references.packs > 0 {
            object["references"] = [
                "packs": .unsigned(result.references.packs), "bytes": .unsigned(result.references.bytes),
                "sources": .list(result.references.sources.sorted().map(OutputValue.string)),
            ]
        }
        return object.value
    }

    private var fields: [String: OutputValue] {
        [
            "from": .string(from), "to": .string(to), "dataset": .string(result.dataset.text),
            "changed": .bool(!result.nothingChanged),
            "branches": .list(
                result.branches.map { branch in
                    [
                        "name": .string(branch.name.text), "snapshot": .string(branch.snapshot.hex),
                        "sequence": .unsigned(branch.sequence), "commits": .unsigned(branch.commits),
                        "ahead": .unsigned(branch.ahead),
                    ]
                }),
            "tags": .list(result.tags.map { .string($0.text) }),
            "takenTags": .list(result.takenTags.map { .string($0.text) }),
            "packs": [
                "copied": .unsigned(result.packs.copied), "copiedBytes": .unsigned(result.packs.copiedBytes),
                "skipped": .unsigned(result.packs.skipped),
                "skippedBytes": .unsigned(result.packs.skippedBytes),
            ],
            "manifests": [
                "copied": .unsigned(result.manifests.copied),
                "copiedBytes": .unsigned(result.manifests.copiedBytes),
                "skipped": .unsigned(result.manifests.skipped),
            ],
            "seconds": .seconds(result.seconds),
        ]
    }

    package func render() -> String {
        var text = ""
        for branch in result.branches {
            let place = "\(result.dataset)@\(branch.name) in \(to)"
            if branch.commits > 0 {
                text += "\(place) is now \(ShortID.of(branch.snapshot)): "
                text += "\(CountText.of(branch.commits, "commit")) more\n"
            } else if branch.ahead > 0 {
                text += "\(place) has all of it, and \(CountText.of(branch.ahead, "commit")) after it\n"
            } else {
                text += "\(place) is up to date at \(ShortID.of(branch.snapshot))\n"
            }
        }
        if !result.tags.isEmpty { text += "tags made: \(Self.names(result.tags))\n" }
        if !result.takenTags.isEmpty {
            text += "tags left out, since the names are taken there: \(Self.names(result.takenTags))\n"
        }
        if !result.nothingChanged { text += amounts }
        if result.references.packs > 0 {
            text += "\(BytesText.of(result.references.bytes)) are imported data, and stay at "
            text += result.references.sources.sorted().joined(separator: ", ")
            text += ": whoever reads the snapshot needs access to it\n"
        }
        return text
    }

    private var amounts: String {
        let bytes = result.packs.copiedBytes + result.manifests.copiedBytes
        var text = "copied \(BytesText.of(bytes)) in \(CountText.of(result.packs.copied, "pack"))"
        text += " and \(CountText.of(result.manifests.copied, "manifest")), every byte verified"
        if result.packs.skipped > 0 {
            text +=
                "; \(CountText.of(result.packs.skipped, "pack was", "packs were")) there "
                + "(\(BytesText.of(result.packs.skippedBytes)))"
        }
        text += "; in \(DurationText.of(result.seconds))"
        if result.seconds > 0.01, bytes > 0 {
            text += " (\(BytesText.rate(Double(bytes) / result.seconds)))"
        }
        return text + "\n"
    }

    private static func names(_ names: [RefName]) -> String { names.map(\.text).joined(separator: ", ") }
}
