import DatasetStore
import System

/// Leases on packs: kept in the directory, so that they outlive the process.
extension CacheKeeper {
    /// Also when another directory has taken the place of the old one.
    func loadPins() {
        pinTurn.take {
            state.withLock { $0.hasLoadedPins = false }
            // Told of; the next change tries again.
            try? readPins()
        }
    }

    /// In turn. Throws when there may be leases that cannot be read: a change would then be written over them.
    private func readPins() throws(CacheError) {
        guard context.hasDisk, !state.withLock({ $0.hasLoadedPins }) else { return }
        var bytes: [UInt8] = []
        do throws(Errno) {
            let size = try context.files.status(of: context.layout.pins).size
            guard size <= PinTable.byteLimit else { throw .fileTooLarge }
            bytes = try readFile(context.layout.pins, limit: Int(size), context.files)
        } catch  where error == .noEntry {
            return state.withLock { $0.hasLoadedPins = true }
        } catch {
            let remedy = "Look at the cache's disk, or delete the file and pin again"
            context.notice(
                once: "pins", "the leases in \(context.layout.pins) cannot be read: \(error). \(remedy)")
            throw CacheError(
                .inputOutput, "the leases in \(context.layout.pins) cannot be read", cause: error,
                remedy: remedy)
        }
        let table = PinTable(bytes)
        if table == nil {
            context.notice(
                once: "pins",
                "\(context.layout.pins) is damaged: its leases are gone. Pin again what has to stay")
        }
        state.withLock { state in
            // One that was made meanwhile is newer.
            for lease in (table?.leases ?? [:]).values where state.pins.leases[lease.name] == nil {
                _ = state.pins.insert(lease)
            }
            state.hasLoadedPins = true
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
        let outcome = pinTurn.take { Result { () throws(CacheError) in try changeInTurn(body) } }
        try outcome.get()
    }

    private func changeInTurn(_ body: (inout PinTable) throws(CacheError) -> Void) throws(CacheError) {
        try readPins()
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
