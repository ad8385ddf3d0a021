import System

/// The mounts that a holder says it has, matched with those that the agent serves: one may have another id there than
/// the agent believes, when the answer that gave it was lost.
struct KnownMounts {
    private var ids: [ByteString: Set<UInt64>] = [:]
    private var claimed: Set<UInt64> = []

    /// The holder has this one.
    mutating func insert(_ held: HeldMount) { ids[held.device, default: []].insert(held.id) }

    /// The agent believes that it has this one. Where the holder agrees, the id is no other mount's: device numbers are
    /// used again.
    mutating func claim(_ held: HeldMount) {
        if ids[held.device]?.contains(held.id) == true { claimed.insert(held.id) }
    }

    /// The holder's id of what the agent serves; nil when the holder has to be given it.
    func id(of held: HeldMount) -> UInt64? {
        guard let same = ids[held.device] else { return nil }
        return same.contains(held.id) ? held.id : same.subtracting(claimed).max()
    }
}
