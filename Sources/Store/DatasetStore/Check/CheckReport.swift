package import Chunking
package import System

/// What `kaml check` found: how much it looked at, what is damaged, and what that hurts.
package struct CheckReport: Sendable {
    package var logRecords: UInt64 = 0
    package var snapshots = 0
    package var shards = 0
    package var packs = 0
    package var chunks: UInt64 = 0
    package var entries: UInt64 = 0
    /// Bytes of packs whose every chunk was decoded and hashed; 0 when only the metadata was checked.
    package var dataBytes: UInt64 = 0
    /// Bytes of objects of somebody else's that were read, in the versions that imports refer to.
    package var referencedBytes: UInt64 = 0
    package var damages: [Damage] = []
    /// Objects that no snapshot names: left by a commit that was killed, or made by one that is still running.
    package var unreferenced = Unreferenced()
    /// Records that break a rule and therefore change nothing.
    package var voidRecords: [UInt64] = []

    package init() {}

    package var isSound: Bool { damages.isEmpty }

    package struct Unreferenced: Sendable, Hashable {
        package var packs = 0
        package var packBytes: UInt64 = 0
        /// Keys, at most `CheckReport.listed` of them.
        package var examples: [String] = []
    }

    /// How many paths, chunks and keys a list shows at most; counts are always whole.
    package static let listed = 20

    package enum Subject: String, Sendable, CaseIterable {
        case store, logRecord, manifestRoot, manifestShard, pack
    }

    package enum Problem: Sendable, Hashable {
        case missing
        /// It and all after it up to this key.
        case missingThrough(String)
        case wrongSize(expected: UInt64, found: UInt64)
        /// The bytes are not what they must be; the text says how.
        case corrupt(String)
        /// The object is whole, but contradicts another.
        case contradiction(String)
        case unreadable(String)
        case newerFormat(String)
        /// An imported object is no longer what it was; the text says which.
        case changed(String)
    }

    /// One damaged object.
    package struct Damage: Sendable, Hashable {
        package var subject: Subject
        /// The object's key.
        package var object: String
        package var problem: Problem
        /// Of a pack: which chunks, when not all of it; at most `listed`.
        package var chunks: [UInt32] = []
        package var chunkCount = 0
        package var impact = Impact()

        package init(_ subject: Subject, _ object: String, _ problem: Problem) {
            self.subject = subject
            self.object = object
            self.problem = problem
        }
    }

    /// What a damage hurts.
    package struct Impact: Sendable, Hashable {
        package var snapshots: [AffectedSnapshot] = []
        /// Different paths, over all datasets.
        package var pathCount = 0
        /// At most `listed` of them.
        package var paths: [ByteString] = []
        /// The damage is in what all of the store hangs on.
        package var isWholeStore = false
    }

    package struct AffectedSnapshot: Sendable, Hashable {
        package var dataset: String
        package var snapshot: ContentHash
        /// Branches and tags that stand there.
        package var refs: [String]
        /// Files of this snapshot that cannot be read; nil when it is all of it.
        package var files: Int?
    }
}

extension CheckReport.Problem: CustomStringConvertible {
    package var description: String {
        switch self {
        case .missing: "is missing"
        case .missingThrough(let key): "and all after it up to \(key) are missing"
        case .wrongSize(let expected, let found): "has \(found) bytes instead of \(expected)"
        case .corrupt(let how): how
        case .contradiction(let how): how
        case .unreadable(let why): "cannot be read: \(why)"
        case .newerFormat(let how): how
        case .changed(let which): which
        }
    }

    /// The word in `kaml check -o json`.
    package var word: String {
        switch self {
        case .missing, .missingThrough: "missing"
        case .wrongSize: "wrongSize"
        case .corrupt: "corrupt"
        case .contradiction: "contradiction"
        case .unreadable: "unreadable"
        case .newerFormat: "newerFormat"
        case .changed: "changed"
        }
    }

    /// What a failed read says of an object.
    init(_ error: StoreError) {
        self =
            switch error.code {
            case .notFound: .missing
            case .damaged: .corrupt(error.cause.map { "\(error.message) (\($0))" } ?? error.message)
            case .unsupported: .newerFormat(error.message)
            case .sourceChanged: .changed("\(error.message): \(error.object ?? "")")
            default: .unreadable(error.message)
            }
    }
}
