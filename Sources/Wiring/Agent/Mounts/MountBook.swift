package import System

/// The lives of a node's mounts: what may happen next to each of them. Does nothing itself.
///
///     ask -> mounting -> serving -> leaving -> gone
///                |          |  ^------'  the kernel refused
///                |  ^-> gone   '-> gone     somebody else unmounted it
///                v  |
///              stranded -> leaving           the holder has it, and it could not be gone on with
package struct MountBook: Sendable {
    package enum MountAnswer: Hashable, Sendable {
        /// Mount it; then tell `didServe` or `didFail`.
        case start(id: String)
        /// The same is there already, or on its way.
        case existing(id: String)
        /// Another one is there.
        case taken(MountRecord)
        case full(limit: Int)
        /// The agent ends, and takes no more.
        case closed
    }

    package enum UnmountAnswer: Hashable, Sendable {
        /// Take it out of the tree; then tell `didDetach` or `didNotDetach`.
        case detach(MountRecord)
        case stillMounting(MountRecord)
        /// Out of the tree already: it is gone when the last file is closed.
        case leaving(MountRecord)
        case unknown
    }

    private var records: [String: MountRecord] = [:]
    private var requests: [String: MountRequest] = [:]
    /// Those in the tree, or on their way there.
    private var placed: [ByteString: String] = [:]
    private var isClosed = false

    package init() {}

    /// By mount point, then by age.
    package var all: [MountRecord] {
        records.values.sorted { ($0.mountPoint, $0.since, $0.id) < ($1.mountPoint, $1.since, $1.id) }
    }

    package subscript(_ id: String) -> MountRecord? { records[id] }

    /// `limit`: the most mounts that may be there. `newID` and `now` are used when this one is new.
    package mutating func ask(
        _ request: MountRequest, limit: Int, newID: String, now: Timestamp
    ) -> MountAnswer {
        if isClosed { return .closed }
        if let id = placed[request.mountPoint], let record = records[id] {
            return requests[id] == request ? .existing(id: id) : .taken(record)
        }
        guard records.count < limit else { return .full(limit: limit) }
        records[newID] = MountRecord(
            id: newID, mountPoint: request.mountPoint, name: request.reference, store: request.store,
            since: now)
        requests[newID] = request
        placed[request.mountPoint] = newID
        return .start(id: newID)
    }

    /// What an agent before this one had mounted. Whether this one is to go on with it, and then to tell `didServe`,
    /// `didStrand` or `didEnd`; it is not, where that is done or under way already.
    package mutating func askTakeover(_ request: MountRequest, id: String, now: Timestamp) -> Bool {
        if isClosed { return false }
        if let record = records[id] {
            guard record.state == .stranded else { return false }
            records[id]?.state = .mounting
            return true
        }
        records[id] = MountRecord(
            id: id, mountPoint: request.mountPoint, name: request.reference, store: request.store, since: now)
        requests[id] = request
        placed[request.mountPoint] = id
        return true
    }

    /// It could not be gone on with for now. Whether that is news.
    package mutating func didStrand(_ id: String, _ trouble: String) -> Bool {
        guard let record = records[id], record.state == .mounting else { return false }
        records[id]?.state = .stranded
        records[id]?.trouble = trouble
        return record.trouble != trouble
    }

    package mutating func didServe(_ id: String, _ facts: MountFacts) {
        guard var record = records[id], record.state == .mounting else { return }
        record.state = .serving
        record.trouble = ""
        record.snapshot = facts.snapshot
        record.store = facts.store
        record.profile = facts.profile
        record.passesThrough = facts.passesThrough
        record.files = facts.files
        record.bytes = facts.bytes
        record.isTakenOver = facts.isTakenOver
        records[id] = record
    }

    package mutating func didFail(_ id: String) { remove(id) }

    package mutating func askUnmount(at mountPoint: ByteString) -> UnmountAnswer {
        if let id = placed[mountPoint] { return askUnmount(id: id) }
        let leaving = all.last { $0.mountPoint == mountPoint && $0.state == .leaving }
        return leaving.map { .leaving($0) } ?? .unknown
    }

    package mutating func askUnmount(id: String) -> UnmountAnswer {
        guard let record = records[id] else { return .unknown }
        switch record.state {
        case .mounting: return .stillMounting(record)
        case .leaving: return .leaving(record)
        case .serving, .stranded:
            records[id]?.state = .leaving
            return .detach(record)
        }
    }

    /// It is out of the tree, so that its place is free.
    package mutating func didDetach(_ id: String) {
        guard let record = records[id], placed[record.mountPoint] == id else { return }
        placed[record.mountPoint] = nil
    }

    package mutating func didNotDetach(_ id: String) {
        guard let record = records[id], record.state == .leaving, placed[record.mountPoint] == id else {
            return
        }
        records[id]?.state = record.trouble.isEmpty ? .serving : .stranded
    }

    /// The kernel's connection ended, whoever ended it. Returns what it was.
    @discardableResult
    package mutating func didEnd(_ id: String) -> MountRecord? { remove(id) }

    /// Takes no more mounts; returns those that are there.
    package mutating func close() -> [MountRecord] {
        isClosed = true
        return all
    }

    @discardableResult
    private mutating func remove(_ id: String) -> MountRecord? {
        guard let record = records.removeValue(forKey: id) else { return nil }
        requests[id] = nil
        if placed[record.mountPoint] == id { placed[record.mountPoint] = nil }
        return record
    }
}
