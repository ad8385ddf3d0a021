package import Chunking
import FoundationEssentials
import KamlProtos
import SwiftProtobuf
import System

extension LogRecord {
    private static let formatVersion: UInt32 = 1

    /// The object that holds the record, and its hash. Nil when it is larger than the format allows.
    package func encoded() -> (bytes: [UInt8], hash: ContentHash)? {
        var message = Kaml_Store_V1_LogRecord()
        message.formatVersion = Self.formatVersion
        message.sequence = sequence
        message.previous = Data(previous?.bytes ?? [])
        message.writerID = Data(writer.bytes)
        message.writeID = Data(write.bytes)
        message.timeUnixNs = time.unixNanoseconds
        message.author = author
        message.change = change.wire
        // Fails only where required fields of proto2 are missing, or beyond 2 GiB.
        guard let payload: [UInt8] = try? message.serializedBytes() else { return nil }
        return LogEnvelope.seal(type: change.type, payload)
    }

    /// Reads a record object from outside. Everything in it is checked; nothing is trusted.
    package static func decoded(_ bytes: [UInt8]) throws(LogDamage) -> (record: LogRecord, hash: ContentHash) {
        let contents = try LogEnvelope.open(bytes)
        guard LogChange.knownTypes.contains(contents.type) else { throw .unknownChange(contents.type) }
        guard let message = try? Kaml_Store_V1_LogRecord(serializedBytes: contents.payload) else {
            throw .invalidField("payload")
        }
        return (try LogRecord(message, type: contents.type), contents.hash)
    }

    private init(_ message: Kaml_Store_V1_LogRecord, type: UInt16) throws(LogDamage) {
        guard message.formatVersion == Self.formatVersion else {
            throw .newerFormat(UInt16(clamping: message.formatVersion))
        }
        guard let writer = LogID(Array(message.writerID)) else { throw .invalidField("writer_id") }
        guard let write = LogID(Array(message.writeID)) else { throw .invalidField("write_id") }
        guard let change = message.change else { throw .invalidField("change") }
        guard message.sequence > 0 else { throw .invalidField("sequence") }
        let parsed = try LogChange(change)
        guard parsed.type == type else { throw .invalidField("type") }
        self.init(
            sequence: message.sequence, previous: try ContentHash(optional: message.previous, "previous"),
            writer: writer, write: write, time: Timestamp(unixNanoseconds: message.timeUnixNs),
            author: message.author, change: parsed)
    }
}

extension LogChange {
    fileprivate static let knownTypes: ClosedRange<UInt16> = 16...19

    /// The number of the change in log.proto, which the envelope repeats.
    fileprivate var type: UInt16 {
        switch self {
        case .commit: 16
        case .branch: 17
        case .tag: 18
        case .reset: 19
        }
    }

    fileprivate var wire: Kaml_Store_V1_LogRecord.OneOf_Change {
        switch self {
        case .commit(let commit): .commit(commit.wire)
        case .branch(let change):
            .branch(
                .with {
                    $0.dataset = change.dataset.text
                    $0.name = change.name.text
                    $0.targetSequence = change.target
                    $0.delete = change.isDeletion
                })
        case .tag(let change):
            .tag(
                .with {
                    $0.dataset = change.dataset.text
                    $0.name = change.name.text
                    $0.targetSequence = change.target
                    $0.delete = change.isDeletion
                })
        case .reset(let reset):
            .reset(
                .with {
                    $0.dataset = reset.dataset.text
                    $0.branch = reset.branch.text
                    $0.targetSequence = reset.target
                    $0.previousSequence = reset.previous
                })
        }
    }

    fileprivate init(_ message: Kaml_Store_V1_LogRecord.OneOf_Change) throws(LogDamage) {
        switch message {
        case .commit(let commit): self = .commit(try Commit(commit))
        case .branch(let branch):
            self = .branch(
                BranchChange(
                    dataset: try DatasetName(checking: branch.dataset), name: try RefName(checking: branch.name),
                    target: branch.targetSequence, isDeletion: branch.delete))
        case .tag(let tag):
            self = .tag(
                TagChange(
                    dataset: try DatasetName(checking: tag.dataset), name: try RefName(checking: tag.name),
                    target: tag.targetSequence, isDeletion: tag.delete))
        case .reset(let reset):
            self = .reset(
                Reset(
                    dataset: try DatasetName(checking: reset.dataset), branch: try RefName(checking: reset.branch),
                    target: reset.targetSequence, previous: reset.previousSequence))
        }
    }
}

extension Commit {
    fileprivate var wire: Kaml_Store_V1_Commit {
        .with {
            $0.dataset = dataset.text
            $0.branch = branch.text
            $0.snapshot = Data(snapshot.bytes)
            $0.parentSequence = parent?.sequence ?? 0
            $0.parentSnapshot = Data(parent?.snapshot.bytes ?? [])
            $0.message = message
            $0.metadata = metadata
            $0.files = files
            $0.bytes = bytes
            $0.newBytes = newBytes
            $0.storedBytes = storedBytes
        }
    }

    fileprivate init(_ message: Kaml_Store_V1_Commit) throws(LogDamage) {
        guard let snapshot = ContentHash(Array(message.snapshot)) else { throw .invalidField("snapshot") }
        let parentSnapshot = try ContentHash(optional: message.parentSnapshot, "parent_snapshot")
        var parent: Parent?
        if let parentSnapshot, message.parentSequence > 0 {
            parent = Parent(sequence: message.parentSequence, snapshot: parentSnapshot)
        } else if parentSnapshot != nil || message.parentSequence > 0 {
            throw .invalidField("parent_sequence")
        }
        self.init(
            dataset: try DatasetName(checking: message.dataset), branch: try RefName(checking: message.branch),
            snapshot: snapshot, parent: parent, message: message.message, metadata: message.metadata,
            files: message.files, bytes: message.bytes, newBytes: message.newBytes, storedBytes: message.storedBytes)
    }
}

extension ContentHash {
    /// 32 bytes, or none.
    fileprivate init?(optional bytes: Data, _ field: String) throws(LogDamage) {
        if bytes.isEmpty { return nil }
        guard let hash = ContentHash(Array(bytes)) else { throw .invalidField(field) }
        self = hash
    }
}

extension DatasetName {
    fileprivate init(checking text: String) throws(LogDamage) {
        guard let name = DatasetName(text) else { throw .invalidField("dataset") }
        self = name
    }
}

extension RefName {
    fileprivate init(checking text: String) throws(LogDamage) {
        guard let name = RefName(text) else { throw .invalidField("name") }
        self = name
    }
}

extension Timestamp {
    private static let nanosecondsPerSecond: Int64 = 1_000_000_000

    /// Held at the ends of what 64 bits can say (the years 1677 and 2262).
    fileprivate var unixNanoseconds: Int64 {
        let (whole, overflow) = seconds.multipliedReportingOverflow(by: Self.nanosecondsPerSecond)
        if overflow { return seconds < 0 ? .min : .max }
        let (sum, tooLarge) = whole.addingReportingOverflow(Int64(nanoseconds))
        return tooLarge ? .max : sum
    }

    fileprivate init(unixNanoseconds: Int64) {
        // Rounded down, so that the nanoseconds are never negative.
        let (quotient, remainder) = unixNanoseconds.quotientAndRemainder(dividingBy: Self.nanosecondsPerSecond)
        let isBefore = remainder < 0
        self.init(
            seconds: isBefore ? quotient - 1 : quotient,
            nanoseconds: UInt32(truncatingIfNeeded: isBefore ? remainder + Self.nanosecondsPerSecond : remainder))
    }
}
