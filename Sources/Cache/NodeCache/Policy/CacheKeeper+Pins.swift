import DatasetStore
import System

/// Leases on packs: kept in the directory, so that they outlive the process.
extension CacheKeeper {
    func loadPins() {
        guard let size = try? context.files.status(of: context.layout.pins).size, size <= PinTable.byteLimit,
            let bytes = try? readFile(context.layout.pins, limit: Int(size), context.files)
        else { return }
        guard let table = PinTable(bytes) else {
            return context.notice(
                once: "pins",
                "\(context.layout.pins) is damaged: its leases are gone. Pin again what has to stay")
        }
        state.withLock { state in
            // One that was made meanwhile is newer.
            for lease in table.leases.values where state.pins.leases[lease.name] == nil {
                _ = state.pins.insert(lease)
            }
        }
    }

    func pin(_ lease: PinLease) throws(CacheError) {
        guard lease.end > context.clock.now() else {
            throw CacheError(
                .unusable, "the lease \(lease.name) ends in the past", remedy: "Name a time to come")
        }
        try change { pins throws(CacheError) in
            guard pins.insert(lease) else {
                throw CacheError(
                    .unusable, "the lease cannot be kept",
                    remedy: "Give it a name of 1 to 128 visible ASCII characters, and pin at most "
                        + "\(PinTable.packLimit) packs in \(PinTable.leaseLimit) leases")
            }
        }
    }

    /// Whether there was such a lease.
    func unpin(_ name: String) throws(CacheError) -> Bool {
        var isKnown = false
        try change { pins in isKnown = pins.remove(name) }
        return isKnown
    }

    var leases: [PinLease] { state.withLock { Array($0.pins.leases.values) } }

    func endLeases() {
        let now = context.clock.now()
        try? change { pins in _ = pins.expire(at: now) }
    }

    /// Changes the table, in the file first: a lease that was promised is there after a crash.
    private func change(_ body: (inout PinTable) throws(CacheError) -> Void) throws(CacheError) {
        // One change at a time; the disk is not waited for under the lock that everything else needs.
        pinTurn.wait { isTaken in
            defer { isTaken = true }
            return isTaken ? nil : ()
        }
        defer {
            pinTurn.withLock { $0 = false }
            pinTurn.wake()
        }
        let old = state.withLock { $0.pins }
        var pins = old
        try body(&pins)
        guard pins.leases != old.leases else { return }
        do throws(Errno) {
            if context.hasDisk {
                try replaceFile(context.layout.pins, pins.encoded(), suffix: "tmp", context.files)
            }
        } catch {
            context.noticeDiskTrouble(error)
            throw CacheError(
                .inputOutput, "the lease cannot be written to \(context.layout.pins)", cause: error,
                remedy: "Free space on the cache's disk, or look at its health")
        }
        state.withLock { $0.pins = pins }
    }
}
