import DatasetFS
import System

/// The open files of a mount in the passthrough profile: the modes that the kernel holds us to, and the table that
/// lets the next process know them. No requests to the kernel in it.
struct OpenFiles: ~Copyable {
    private var modes = OpenModes()
    private var table: OpenFileTable
    /// Opened for a process that died: `operations` knows nothing of them.
    private var inherited: Set<UInt64> = []
    private var isClosed = false

    /// Set by the kernel in the number of a request that it sends again.
    static let resentBit: UInt64 = 1 << 63

    init(_ table: consuming OpenFileTable) throws(OpenFileTableError) {
        var modes = OpenModes()
        var inherited: Set<UInt64> = []
        // swift-format-ignore: ReplaceForEachWithForLoop
        try table.forEach { record throws(OpenFileTableError) in
            if let prescribed = modes.prescribed(for: record.inode), prescribed != record.mode {
                throw .damaged(record: UInt32(truncatingIfNeeded: record.handle))
            }
            modes.opened(record.inode, as: record.mode)
            inherited.insert(record.handle)
        }
        self.table = table
        self.modes = modes
        self.inherited = inherited
    }

    struct Opened: Equatable {
        var handle: UInt64
        var mode: OpenModes.Prescribed
    }

    /// What a process that died recorded for a request that is sent again, whether or not it answered.
    func recorded(unique: UInt64) -> Opened? {
        guard unique & Self.resentBit != 0 else { return nil }
        return table.find(unique: unique & ~Self.resentBit).map { Opened(handle: $0.handle, mode: $0.mode) }
    }

    func prescribed(for inode: Inode) -> OpenModes.Prescribed? { modes.prescribed(for: inode) }

    enum Outcome: Equatable {
        case opened(Opened)
        /// No open of the inode prescribes a mode.
        case free
        /// Recording it is not possible; unrecorded it would come back as somebody's EIO after a crash.
        case full
        /// Another process answers from now on.
        case letGo

        var mode: OpenModes.Prescribed? { if case .opened(let opened) = self { opened.mode } else { nil } }
    }

    /// What a record says of the request.
    struct Number {
        var unique: UInt64
        var decidedPassthrough = false
    }

    /// Records an open in the mode that other opens of the inode prescribe; `free` when there are none. Asked and
    /// recorded at once: a mode, and its backing id, may end with the next release.
    mutating func join(_ inode: Inode, _ number: Number) -> Outcome {
        guard let mode = modes.prescribed(for: inode) else { return isClosed ? .letGo : .free }
        return record(inode, mode, number)
    }

    /// Records an open in the wanted mode, unless others have come meanwhile that prescribe one.
    mutating func open(_ inode: Inode, wanted: OpenModes.Prescribed, _ number: Number) -> Outcome {
        record(inode, modes.prescribed(for: inode) ?? wanted, number)
    }

    private mutating func record(
        _ inode: Inode, _ mode: OpenModes.Prescribed, _ number: Number
    ) -> Outcome {
        if isClosed { return .letGo }
        let handle = table.insert(
            inode, mode, unique: number.unique & ~Self.resentBit,
            decidedPassthrough: number.decidedPassthrough)
        guard let handle else { return .full }
        modes.opened(inode, as: mode)
        return .opened(Opened(handle: handle, mode: mode))
    }

    struct Release: Equatable {
        /// To be dropped: that was the last open through it.
        var backing: Int32?
        /// What `operations` is to be told; nil when it knows nothing of the open.
        var decidedPassthrough: Bool?
    }

    /// Takes an open back. Nil when it is none: released already, or the table has gone to another process.
    mutating func release(_ handle: UInt64) -> Release? {
        guard !isClosed, let record = table.remove(handle) else { return nil }
        let isOwn = inherited.remove(handle) == nil
        return Release(
            backing: modes.released(record.inode),
            decidedPassthrough: isOwn ? handle & OpenFileTable.decidedPassthrough != 0 : nil)
    }

    /// From now on the table is another process's.
    mutating func close() { isClosed = true }

    var backings: Set<Int32> { modes.backings }
    var openInodes: Int { modes.openInodes }
}
