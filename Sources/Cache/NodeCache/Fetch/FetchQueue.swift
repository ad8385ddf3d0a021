/// What waits for a thread, and which of it may run next. No I/O and no threads in it.
///
/// Readers go first, in the order they came, and before any of them has its bytes nothing is read ahead. No pack gets
/// more than its share of what runs at once, so that one whose store hangs does not keep the others from theirs.
struct FetchQueue<Item, Key: Hashable> {
    enum Class: Int {
        /// Somebody waits for it.
        case reader
        /// Runs ahead of a reader.
        case ahead
        /// Fills a pack while nothing better is to be done.
        case filling
    }

    struct Entry {
        var item: Item
        var key: Key
        /// Bytes that it will hold in memory while it runs.
        var charge: Int
        var kind: Class
    }

    struct Limits {
        /// Running at once: in all that are no readers, and of one key.
        var ahead: Int
        var perKey: Int
        /// Entries that wait, of those that nobody waits for; further ones are dropped.
        var waiting = 4096
    }

    private(set) var budget: ByteBudget
    private let limits: Limits
    private var readers: [Entry] = []
    private var aheads: [Entry] = []
    private var fillings: [Entry] = []
    private var runningAhead = 0
    private var runningByKey: [Key: Int] = [:]
    private var waitingByKey: [Key: Int] = [:]

    init(budget: ByteBudget, limits: Limits) {
        self.budget = budget
        self.limits = limits
    }

    var waiting: Int { readers.count + aheads.count + fillings.count }
    var isRunning: Bool { !runningByKey.isEmpty }

    mutating func add(_ entry: Entry) {
        switch entry.kind {
        case .reader: readers.append(entry)
        case .ahead:
            guard aheads.count < limits.waiting else { return }
            aheads.append(entry)
        case .filling:
            guard fillings.count < limits.waiting else { return }
            fillings.append(entry)
        }
        waitingByKey[entry.key, default: 0] += 1
    }

    /// Forgets what nobody waits for.
    mutating func dropAhead() {
        for entry in aheads { leave(entry) }
        for entry in fillings { leave(entry) }
        aheads = []
        fillings = []
    }

    private mutating func leave(_ entry: Entry) {
        let left = waitingByKey[entry.key, default: 1] - 1
        waitingByKey[entry.key] = left > 0 ? left : nil
    }

    /// How many threads may find something to do now, as far as kinds and shares go; one of them learns whether its bytes
    /// are to be had.
    var ready: Int {
        if budget.used >= budget.limit { return 0 }
        let byKind = readers.count + max(0, min(aheads.count + fillings.count, limits.ahead - runningAhead))
        if byKind == 0 { return 0 }
        let byKey = waitingByKey.reduce(0) { sum, waiting in
            sum + max(0, min(waiting.value, limits.perKey - runningByKey[waiting.key, default: 0]))
        }
        return min(byKind, byKey)
    }

    /// What to run now: it then holds its bytes and owes a `finished`. Nil when nothing may run.
    mutating func next() -> Entry? {
        if let index = readers.firstIndex(where: isBelowShare) {
            let entry = readers[index]
            guard start(entry) else { return nil }
            readers.remove(at: index)
            leave(entry)
            return entry
        }
        guard runningAhead < limits.ahead else { return nil }
        if let index = aheads.firstIndex(where: isBelowShare) {
            let entry = aheads[index]
            guard start(entry) else { return nil }
            aheads.remove(at: index)
            leave(entry)
            return entry
        }
        if let index = fillings.firstIndex(where: isBelowShare) {
            let entry = fillings[index]
            guard start(entry) else { return nil }
            fillings.remove(at: index)
            leave(entry)
            return entry
        }
        return nil
    }

    /// Starts a reader's entry that was never added, if nobody else waits.
    mutating func startNow(_ entry: Entry) -> Bool {
        guard readers.isEmpty, isBelowShare(entry) else { return false }
        return start(entry)
    }

    /// Something that was started is done.
    mutating func finished(_ entry: Entry) {
        budget.giveBack(entry.charge)
        if entry.kind != .reader { runningAhead -= 1 }
        let left = runningByKey[entry.key, default: 1] - 1
        runningByKey[entry.key] = left > 0 ? left : nil
    }

    private func isBelowShare(_ entry: Entry) -> Bool {
        runningByKey[entry.key, default: 0] < limits.perKey
    }

    private mutating func start(_ entry: Entry) -> Bool {
        guard budget.take(entry.charge, isAhead: entry.kind != .reader) else { return false }
        if entry.kind != .reader { runningAhead += 1 }
        runningByKey[entry.key, default: 0] += 1
        return true
    }
}
