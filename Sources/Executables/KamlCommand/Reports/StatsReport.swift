package import DatasetStore
package import NodeCache

/// What a store holds and takes.
package struct StatsReport: Report {
    private let statistics: StoreStatistics
    private let isWhole: Bool

    /// `isWhole`: of all datasets, so that the store's own size belongs to it.
    package init(_ statistics: StoreStatistics, isWhole: Bool) {
        self.statistics = statistics
        self.isWhole = isWhole
    }

    package var value: OutputValue {
        var object = Self.fields(statistics.total)
        if isWhole {
            object["storedBytes"] = .unsigned(statistics.storedBytes)
            object["manifests"] = .unsigned(statistics.manifests)
            object["manifestBytes"] = .unsigned(statistics.manifestBytes)
            object["logRecords"] = .unsigned(statistics.logRecords)
            object["logBytes"] = .unsigned(statistics.logBytes)
        }
        object["datasets"] = .list(
            statistics.datasets.sorted { $0.key < $1.key }.map { name, totals in
                var fields = Self.fields(totals)
                fields["name"] = .string(name.text)
                return fields.value
            })
        return object.value
    }

    private static func fields(_ totals: StoreStatistics.Totals) -> OutputObject {
        var object = OutputObject([
            "snapshots": .count(totals.snapshots), "logicalFiles": .unsigned(totals.logicalFiles),
            "logicalBytes": .unsigned(totals.logicalBytes), "uniqueBytes": .unsigned(totals.uniqueBytes),
            "packBytes": .unsigned(totals.packBytes), "packs": .count(totals.packs),
            "chunks": .unsigned(totals.chunks), "prefixFrames": .unsigned(totals.prefixFrames),
            "plainFrames": .unsigned(totals.plainFrames),
            "referencedBytes": .unsigned(totals.referencedBytes),
            "referencePacks": .count(totals.referencePacks),
        ])
        object["dedupRatio"] = .ratio(totals.dedupRatio)
        object["compressionRatio"] = .ratio(totals.compressionRatio)
        return object
    }

    package func render() -> String {
        let total = statistics.total
        var facts = Facts(.null)
        facts.add(
            "logical",
            "\(BytesText.of(total.logicalBytes)) in \(CountText.of(UInt64(total.snapshots), "snapshot"))")
        facts.add(
            "unique",
            "\(BytesText.of(total.uniqueBytes))\(Self.times(total.dedupRatio, "smaller by deduplication"))")
        if total.referencedBytes > 0 {
            facts.add(
                "imported", "\(BytesText.of(total.referencedBytes)) in objects that stay where they are")
        }
        facts.add(
            "packs",
            "\(BytesText.of(total.packBytes))\(Self.times(total.compressionRatio, "smaller by compression"))")
        if isWhole {
            facts.add(
                "manifests",
                "\(BytesText.of(statistics.manifestBytes)) in \(CountText.of(statistics.manifests, "object"))"
            )
            facts.add("store", "\(BytesText.of(statistics.storedBytes)) in all")
        }
        var chunks = "\(CountText.of(total.chunks)) in \(CountText.of(UInt64(total.packs), "pack"))"
        chunks +=
            ", \(CountText.of(total.prefixFrames)) stored as differences, \(CountText.of(total.plainFrames)) as they are"
        facts.add("chunks", chunks)
        var table = Table([
            .init("DATASET"), .init("SNAPSHOTS", .right), .init("LOGICAL", .right), .init("UNIQUE", .right),
            .init("STORED", .right), .init("DEDUP", .right), .init("COMPRESSION", .right),
        ])
        for (name, totals) in statistics.datasets.sorted(by: { $0.key < $1.key }) {
            table.add([
                name.text, "\(totals.snapshots)", BytesText.of(totals.logicalBytes),
                BytesText.of(totals.uniqueBytes),
                BytesText.of(totals.packBytes), Self.ratio(totals.dedupRatio),
                Self.ratio(totals.compressionRatio),
            ])
        }
        return facts.render() + (table.rows.isEmpty ? "" : "\n" + table.render())
    }

    private static func ratio(_ value: Double?) -> String { value.map { Decimals.text($0, 2) + "x" } ?? "-" }
    private static func times(_ value: Double?, _ what: String) -> String {
        value.map { ", \(Decimals.text($0, 2)) times \(what)" } ?? ""
    }
}

/// What a node's cache did and holds.
package struct CacheReport: Report {
    private let directory: String
    private let statistics: CacheStatistics

    package init(_ directory: String, _ statistics: CacheStatistics) {
        self.directory = directory
        self.statistics = statistics
    }

    package var value: OutputValue {
        let statistics = statistics
        return [
            "cacheDirectory": .string(directory), "fetchedBytes": .unsigned(statistics.fetchedBytes),
            "fetchRequests": .unsigned(statistics.fetchRequests),
            "manifestBytes": .unsigned(statistics.manifestBytes),
            "filledBytes": .unsigned(statistics.filledBytes),
            "verifiedChunks": .unsigned(statistics.verifiedChunks),
            "failedChunks": .unsigned(statistics.failedChunks),
            "recheckedChunks": .unsigned(statistics.recheckedChunks),
            "rejectedChunks": .unsigned(statistics.rejectedChunks),
            "readThroughs": .unsigned(statistics.readThroughs),
            "containers": .unsigned(statistics.containers),
            "completeContainers": .unsigned(statistics.completeContainers),
            "allocatedBytes": .unsigned(statistics.allocatedBytes),
        ]
    }

    package func render() -> String {
        var facts = Facts(.null)
        facts.add("cache", directory)
        facts.add(
            "on disk",
            "\(BytesText.of(statistics.allocatedBytes)) in \(CountText.of(statistics.containers, "container"))"
        )
        facts.add("complete", CountText.of(statistics.completeContainers, "container"))
        facts.add(
            "fetched",
            "\(BytesText.of(statistics.fetchedBytes)) in \(CountText.of(statistics.fetchRequests, "request"))"
        )
        facts.add("manifests", BytesText.of(statistics.manifestBytes))
        facts.add(
            "filled",
            "\(BytesText.of(statistics.filledBytes)), \(CountText.of(statistics.verifiedChunks, "chunk")) verified"
        )
        if statistics.failedChunks > 0 {
            facts.add("damaged", CountText.of(statistics.failedChunks, "chunk"))
        }
        if statistics.recheckedChunks > 0 {
            facts.add(
                "rechecked",
                "\(CountText.of(statistics.recheckedChunks, "chunk")), \(statistics.rejectedChunks) fetched anew"
            )
        }
        if statistics.readThroughs > 0 {
            facts.add(
                "not kept",
                "\(CountText.of(statistics.readThroughs, "chunk")): the cache was at its limit, or its disk did not take them"
            )
        }
        return facts.render()
    }
}

/// What hashing a node's cache again found.
package struct CacheCheckReport: Report {
    private let directory: String
    private let report: ScrubReport

    package init(_ directory: String, _ report: ScrubReport) {
        self.directory = directory
        self.report = report
    }

    package var value: OutputValue {
        [
            "cacheDirectory": .string(directory), "sound": .bool(report.badChunks == 0),
            "containers": .unsigned(report.containers), "chunks": .unsigned(report.chunks),
            "bytes": .unsigned(report.bytes), "badChunks": .unsigned(report.badChunks),
            "unknownChunks": .unsigned(report.unknownChunks),
        ]
    }

    package func render() -> String {
        var text =
            report.badChunks == 0
            ? "no damage found\n"
            : "\(CountText.of(report.badChunks, "damaged chunk")): forgotten, and fetched again when needed\n"
        text += "\(CountText.of(report.containers, "container")), \(CountText.of(report.chunks, "chunk")), "
        text += "\(BytesText.of(report.bytes)) read and hashed\n"
        if report.unknownChunks > 0 {
            text += "\(CountText.of(report.unknownChunks, "chunk")) will be hashed at the next use\n"
        }
        return text
    }
}
