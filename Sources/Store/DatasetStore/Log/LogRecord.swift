package import Chunking
package import System

/// 16 random bytes that name a process or one write of it.
package struct LogID: Hashable, Sendable, CustomStringConvertible {
    package static let byteCount = 16

    package let bytes: [UInt8]

    /// Exactly 16 bytes, or nil.
    package init?(_ bytes: [UInt8]) {
        guard bytes.count == Self.byteCount else { return nil }
        self.bytes = bytes
    }

    package init(from random: any RandomSource) { bytes = random.bytes(Self.byteCount) }

    package var description: String { Hex.encode(bytes) }
}

/// One record of a store's log: a change and who made it.
package struct LogRecord: Hashable, Sendable {
    /// Its number, from 1 without a gap.
    package var sequence: UInt64
    /// The hash of the record before; nil for record 1.
    package var previous: ContentHash?
    package var writer: LogID
    package var write: LogID
    package var time: Timestamp
    /// `user@host`, for people.
    package var author: String
    package var change: LogChange

    package init(
        sequence: UInt64, previous: ContentHash?, writer: LogID, write: LogID, time: Timestamp, author: String,
        change: LogChange
    ) {
        self.sequence = sequence
        self.previous = previous
        self.writer = writer
        self.write = write
        self.time = time
        self.author = author
        self.change = change
    }
}

/// What a record changes.
package enum LogChange: Hashable, Sendable {
    case commit(Commit)
    case branch(BranchChange)
    case tag(TagChange)
    case reset(Reset)

    package var dataset: DatasetName {
        switch self {
        case .commit(let commit): commit.dataset
        case .branch(let change): change.dataset
        case .tag(let change): change.dataset
        case .reset(let reset): reset.dataset
        }
    }
}

/// A new snapshot at the head of a branch.
package struct Commit: Hashable, Sendable {
    /// The head that a commit follows.
    package struct Parent: Hashable, Sendable {
        package var sequence: UInt64
        package var snapshot: ContentHash

        package init(sequence: UInt64, snapshot: ContentHash) {
            self.sequence = sequence
            self.snapshot = snapshot
        }
    }

    package var dataset: DatasetName
    package var branch: RefName
    package var snapshot: ContentHash
    /// Nil for the first commit of a branch.
    package var parent: Parent?
    package var message: String
    package var metadata: [String: String]
    /// What the snapshot holds.
    package var files: UInt64
    package var bytes: UInt64
    /// Bytes of chunks the store did not have, plain.
    package var newBytes: UInt64
    /// Bytes the store grew by.
    package var storedBytes: UInt64

    package init(
        dataset: DatasetName, branch: RefName, snapshot: ContentHash, parent: Parent?, message: String = "",
        metadata: [String: String] = [:], files: UInt64 = 0, bytes: UInt64 = 0, newBytes: UInt64 = 0,
        storedBytes: UInt64 = 0
    ) {
        self.dataset = dataset
        self.branch = branch
        self.snapshot = snapshot
        self.parent = parent
        self.message = message
        self.metadata = metadata
        self.files = files
        self.bytes = bytes
        self.newBytes = newBytes
        self.storedBytes = storedBytes
    }
}

/// Makes a branch at a commit, or deletes one.
package struct BranchChange: Hashable, Sendable {
    package var dataset: DatasetName
    package var name: RefName
    /// The commit's record; for a deletion the head that the branch is known to have.
    package var target: UInt64
    package var isDeletion: Bool

    package init(dataset: DatasetName, name: RefName, target: UInt64, isDeletion: Bool = false) {
        self.dataset = dataset
        self.name = name
        self.target = target
        self.isDeletion = isDeletion
    }
}

/// Makes a tag at a commit, or deletes one. A tag never moves.
package struct TagChange: Hashable, Sendable {
    package var dataset: DatasetName
    package var name: RefName
    /// The commit's record; for a deletion the one that the tag is known to name.
    package var target: UInt64
    package var isDeletion: Bool

    package init(dataset: DatasetName, name: RefName, target: UInt64, isDeletion: Bool = false) {
        self.dataset = dataset
        self.name = name
        self.target = target
        self.isDeletion = isDeletion
    }
}

/// Moves a branch to any commit of its dataset.
package struct Reset: Hashable, Sendable {
    package var dataset: DatasetName
    package var branch: RefName
    package var target: UInt64
    /// The head that the branch is known to have, so that a reset cannot undo a commit it never saw.
    package var previous: UInt64

    package init(dataset: DatasetName, branch: RefName, target: UInt64, previous: UInt64) {
        self.dataset = dataset
        self.branch = branch
        self.target = target
        self.previous = previous
    }
}
