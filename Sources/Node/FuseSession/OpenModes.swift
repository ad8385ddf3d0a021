import DatasetFS

/// Which inodes are open, and how.
///
/// The kernel keeps one mode per inode: an open that asks for another one while the first lasts fails with
/// EIO. So the first open of an inode decides, and the others follow until the last of them is released.
struct OpenModes: ~Copyable {
    private enum Mode {
        case cached(opens: Int)
        case passthrough(backing: Int32, opens: Int)
    }

    private var modes: [UInt64: Mode] = [:]

    /// What a new open of the inode has to be; `nil` when it may choose.
    enum Prescribed: Equatable {
        case cached
        case passthrough(backing: Int32)
    }

    func prescribed(for inode: Inode) -> Prescribed? {
        switch modes[inode.rawValue] {
        case nil: nil
        case .cached: .cached
        case .passthrough(let backing, _): .passthrough(backing: backing)
        }
    }

    /// Notes one more open, in the mode that was prescribed or chosen.
    mutating func opened(_ inode: Inode, as mode: Prescribed) {
        switch (modes[inode.rawValue], mode) {
        case (.cached(let opens), _): modes[inode.rawValue] = .cached(opens: opens + 1)
        case (.passthrough(let backing, let opens), _):
            modes[inode.rawValue] = .passthrough(backing: backing, opens: opens + 1)
        case (nil, .cached): modes[inode.rawValue] = .cached(opens: 1)
        case (nil, .passthrough(let backing)):
            modes[inode.rawValue] = .passthrough(backing: backing, opens: 1)
        }
    }

    /// Notes a release; returns the backing id to give back when that was the last open through it.
    mutating func released(_ inode: Inode) -> Int32? {
        switch modes[inode.rawValue] {
        case nil: return nil
        case .cached(let opens):
            modes[inode.rawValue] = opens > 1 ? .cached(opens: opens - 1) : nil
            return nil
        case .passthrough(let backing, let opens):
            modes[inode.rawValue] = opens > 1 ? .passthrough(backing: backing, opens: opens - 1) : nil
            return opens > 1 ? nil : backing
        }
    }

    var openInodes: Int { modes.count }

    /// Every backing id in use.
    var backings: Set<Int32> {
        Set(modes.values.compactMap { if case .passthrough(let backing, _) = $0 { backing } else { nil } })
    }
}
