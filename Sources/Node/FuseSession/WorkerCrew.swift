import System

/// Who serves: one worker at first, and another each time a request comes while all are busy, up to a regular number.
///
/// Keeps workers free for requests that need nothing from a store: a worker that is about to wait for one is replaced by a
/// spare, so that with the store away cached files and directories are served on. No threads in it.
struct WorkerCrew {
    private let regular: Int
    private let total: Int
    /// Workers that serve, those that wait among them.
    private var serving: Set<Int> = [0]
    private var waiting = 0
    /// Spares that serve no more, but whose threads still use what is theirs.
    private var leaving: Set<Int> = []

    init(regular: Int, total: Int) {
        self.regular = regular
        self.total = total
    }

    /// All regular workers serve; they never leave.
    var isFull: Bool { (0..<regular).allSatisfy(serving.contains) }

    /// All that serve are busy: the worker to start, if there are to be more.
    mutating func allAreBusy() -> Int? {
        guard let next = (0..<regular).first(where: { !serving.contains($0) }) else { return nil }
        serving.insert(next)
        return next
    }

    /// A worker is about to wait: the spare to start, if one is needed and left.
    mutating func willWait() -> Int? {
        waiting += 1
        guard serving.count - waiting < max(1, regular / 2) else { return nil }
        guard let spare = (0..<total).first(where: { !serving.contains($0) && !leaving.contains($0) })
        else { return nil }
        serving.insert(spare)
        return spare
    }

    mutating func didWait() { waiting -= 1 }

    /// Between two requests: whether this worker is a spare that is needed no more. It then leaves, and says so with
    /// `didLeave`: before that no other thread may take its place.
    mutating func mayLeave(_ worker: Int) -> Bool {
        guard worker >= regular, serving.count - waiting > regular else { return false }
        serving.remove(worker)
        leaving.insert(worker)
        return true
    }

    /// The thread is done with what was the worker's.
    mutating func didLeave(_ worker: Int) { leaving.remove(worker) }

    /// A spare could not be started.
    mutating func lost(_ worker: Int) { serving.remove(worker) }
}
