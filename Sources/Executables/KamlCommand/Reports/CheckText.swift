import Chunking
package import DatasetStore
import System

/// A check's findings as text and values.
package struct CheckText: Report {
    private let report: CheckReport
    private let seconds: Double

    private let temporary: TemporaryObjects

    package init(_ report: CheckReport, seconds: Double, temporary: TemporaryObjects = .init()) {
        self.temporary = temporary
        self.report = report
        self.seconds = seconds
    }

    package var value: OutputValue {
        [
            "sound": .bool(report.isSound), "seconds": .seconds(seconds),
            "checked": [
                "logRecords": .unsigned(report.logRecords), "snapshots": .count(report.snapshots),
                "shards": .count(report.shards), "entries": .unsigned(report.entries),
                "packs": .count(report.packs),
                "chunks": .unsigned(report.chunks), "dataBytes": .unsigned(report.dataBytes),
                "referencedBytes": .unsigned(report.referencedBytes),
            ],
            "damages": .list(report.damages.map(Self.value)),
            "unreferenced": [
                "packs": .count(report.unreferenced.packs),
                "packBytes": .unsigned(report.unreferenced.packBytes),
                "examples": .list(report.unreferenced.examples.map(OutputValue.string)),
            ],
            "temporary": ["files": .count(temporary.files), "bytes": .unsigned(temporary.bytes)],
            "voidRecords": .list(report.voidRecords.map(OutputValue.unsigned)),
        ]
    }

    private static func value(_ damage: CheckReport.Damage) -> OutputValue {
        var object = OutputObject([
            "kind": .string(damage.subject.rawValue), "object": .string(damage.object),
            "problem": .string(damage.problem.word), "detail": .string(damage.problem.description),
            "wholeStore": .bool(damage.impact.isWholeStore), "paths": .count(damage.impact.pathCount),
            "pathExamples": .list(
                damage.impact.paths.map { path in
                    var fields = OutputObject()
                    fields.set("path", path)
                    return fields.value
                }),
            "snapshots": .list(damage.impact.snapshots.map(value)),
        ])
        if damage.chunkCount > 0 {
            object["damagedChunks"] = .count(damage.chunkCount)
            object["chunkExamples"] = .list(damage.chunks.map { .unsigned(UInt64($0)) })
        }
        return object.value
    }

    private static func value(_ affected: CheckReport.AffectedSnapshot) -> OutputValue {
        var object = OutputObject([
            "dataset": .string(affected.dataset), "snapshot": .string(affected.snapshot.hex),
            "refs": .list(affected.refs.map(OutputValue.string)),
        ])
        object["files"] = affected.files.map(OutputValue.count)
        return object.value
    }

    package func render() -> String {
        var text = ""
        for damage in report.damages { text += Self.lines(damage) }
        for sequence in report.voidRecords {
            text += "note: log record \(sequence) breaks a rule and changes nothing\n"
        }
        if report.unreferenced.packs > 0 {
            let packs = CountText.of(UInt64(report.unreferenced.packs), "pack")
            text +=
                "note: no snapshot names \(packs) (\(BytesText.of(report.unreferenced.packBytes))): left by a commit that was"
            text += " killed, or made by one that is running\n"
        }
        if temporary.files > 0 {
            let files = CountText.of(UInt64(temporary.files), "unfinished object")
            text +=
                "note: \(files) (\(BytesText.of(temporary.bytes))) in .tmp: of a commit that runs, or was killed;"
            text += " the next commit removes those older than a day\n"
        }
        return text + totals
    }

    private var totals: String {
        var looked =
            "\(CountText.of(report.logRecords, "log record")), \(CountText.of(UInt64(report.snapshots), "snapshot")), "
        looked +=
            "\(CountText.of(UInt64(report.shards), "manifest shard")), \(CountText.of(report.entries, "entry", "entries")), "
        looked += "\(CountText.of(UInt64(report.packs), "pack")), \(CountText.of(report.chunks, "chunk"))"
        if report.dataBytes > 0 { looked += ", \(BytesText.of(report.dataBytes)) read and hashed" }
        if report.referencedBytes > 0 {
            looked += ", \(BytesText.of(report.referencedBytes)) of imported objects read"
        }
        let verdict =
            report.isSound
            ? "no damage found" : "\(CountText.of(UInt64(report.damages.count), "damaged object"))"
        let data =
            report.isSound && report.dataBytes + report.referencedBytes == 0
            ? " (--read-data also reads the files' bytes)" : ""
        return "\(verdict)\(data)\nchecked in \(DurationText.of(seconds)): \(looked)\n"
    }

    private static func lines(_ damage: CheckReport.Damage) -> String {
        var text = "damaged: \(damage.object): \(damage.problem)\n"
        if damage.chunkCount > 0 {
            let list = damage.chunks.map(String.init).joined(separator: ", ")
            let more = damage.chunkCount > damage.chunks.count ? ", ..." : ""
            text += "  \(CountText.of(UInt64(damage.chunkCount), "chunk")): \(list)\(more)\n"
        }
        if damage.impact.isWholeStore {
            text += "  hurts: the whole store, whose names all hang on the log\n"
        }
        for affected in damage.impact.snapshots {
            let names =
                affected.refs.isEmpty
                ? ["\(affected.dataset)@\(ShortID.of(affected.snapshot))"]
                : affected.refs.map { "\(affected.dataset)@\($0)" }
            let what = affected.files.map { CountText.of(UInt64($0), "entry", "entries") } ?? "all of it"
            text +=
                "  hurts: \(names.joined(separator: ", ")) (snapshot \(ShortID.of(affected.snapshot))): \(what)\n"
        }
        for path in damage.impact.paths { text += "    \(path.isEmpty ? "/" : path.description)\n" }
        if damage.impact.pathCount > damage.impact.paths.count {
            text += "    ... and \(damage.impact.pathCount - damage.impact.paths.count) more\n"
        }
        return text
    }
}
