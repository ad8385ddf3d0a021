import Chunking
import DatasetStore
import KamlTestSupport
import ObjectStore
import Synchronization
import System
import Testing

@Suite("The record log")
struct RecordLogTests {
    private func log(_ store: any ObjectStore, seed: UInt64 = 1) -> RecordLog {
        RecordLog(store, author: "test@host", random: SeededRandom(seed: seed), pause: { _ in })
    }

    @discardableResult
    private func commit(_ id: ContentHash, _ log: RecordLog, _ state: inout LogState) throws -> LogRecord? {
        try log.append(to: &state) { state throws(RecordLogError) in state.nextCommit(id) }
    }

    @Test("numbers records from 1 and reads them back the same")
    func appendAndReplay() throws {
        let store = MemoryObjectStore()
        let log = log(store)
        var state = LogState()
        for number: UInt8 in 1...12 {
            #expect(try commit(snapshot(number), log, &state)?.sequence == UInt64(number))
        }
        #expect(try store.list("").map(\.key) == (1...12).compactMap { LogKey.of($0) })
        #expect(try log.replay() == state)
        #expect(state.commits[12]?.record.author == "test@host")
    }

    @Test("reads only what is new into a state that is kept")
    func incremental() throws {
        let store = CountingObjectStore(MemoryObjectStore())
        let (writer, reader) = (log(store, seed: 1), log(store, seed: 2))
        var (state, seen) = (LogState(), LogState())
        for number: UInt8 in 1...5 { try commit(snapshot(number), writer, &state) }
        try reader.replay(into: &seen)
        let before = store.counts.read.requests
        try commit(snapshot(6), writer, &state)
        try reader.replay(into: &seen)
        #expect(store.counts.read.requests == before + 1)
        #expect(seen == state)
    }

    @Test("reads many records at a time and applies them in order", .timeLimit(.minutes(1)))
    func manyAtATime() throws {
        let store = MemoryObjectStore()
        var state = LogState()
        let writer = log(store)
        for number in 1...200 { try commit(snapshot(UInt8(number)), writer, &state) }
        let meeting = MeetingObjectStore(store, readers: 4)
        #expect(try log(meeting, seed: 2).replay() == state)
    }

    @Test("names the record that is missing among many", arguments: [2, 63, 64, 65, 66, 129])
    func gapAmongMany(missing: UInt64) throws {
        let store = MemoryObjectStore()
        var state = LogState()
        let writer = log(store)
        for number in 1...130 { try commit(snapshot(UInt8(number)), writer, &state) }
        let key = try #require(LogKey.of(missing))
        try store.delete(key)
        var seen = LogState()
        let error = #expect(throws: RecordLogError.self) { try log(store, seed: 2).replay(into: &seen) }
        guard case .gap(missing: key.text, next: _, location: _) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(seen.sequence == missing - 1)
    }

    @Test("appends nothing when the caller wants nothing any more")
    func nothing() throws {
        let store = MemoryObjectStore()
        var state = LogState()
        #expect(try log(store).append(to: &state) { _ throws(RecordLogError) in nil } == nil)
        #expect(try store.list("").isEmpty)
    }

    @Test("refuses a conflict before anything is written")
    func conflict() throws {
        let store = MemoryObjectStore()
        let log = log(store)
        var state = LogState()
        try commit(snapshot(1), log, &state)
        let stale = LogChange.commit(
            Commit(dataset: dataset(), branch: .main, snapshot: snapshot(2), parent: nil))
        let error = #expect(throws: RecordLogError.self) {
            try log.append(to: &state) { _ throws(RecordLogError) in stale }
        }
        guard case .conflict(.parentIsNotHead) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(try store.list("").count == 1)
    }

    @Test("asks again with the newer state when somebody else was faster")
    func lostRace() throws {
        let store = MemoryObjectStore()
        let (mine, theirs) = (log(store, seed: 1), log(store, seed: 2))
        var (state, other) = (LogState(), LogState())
        var asked = 0
        let record = try mine.append(to: &state) { state throws(RecordLogError) in
            asked += 1
            if asked == 1 {
                _ = try theirs.append(to: &other) { state throws(RecordLogError) in
                    state.nextCommit(snapshot(1))
                }
                _ = try theirs.append(to: &other) { state throws(RecordLogError) in
                    state.nextCommit(snapshot(2))
                }
            }
            return state.nextCommit(snapshot(3))
        }
        #expect(asked == 2)
        #expect(record?.sequence == 3)
        #expect(try theirs.replay() == state)
    }

    @Test("finds its own record after a lost answer, and does not write it twice")
    func lostAnswer() throws {
        let store = FaultyObjectStore(MemoryObjectStore())
        let log = log(store)
        var state = LogState()
        store.on(.create, 1, .answerLost)
        #expect(try commit(snapshot(1), log, &state)?.sequence == 1)
        store.on(.create, 1, .answerLost)
        store.on(.create, 2, .fails(.unavailable))
        #expect(try commit(snapshot(2), log, &state)?.sequence == 2)
        #expect(try log.replay() == state)
        #expect(state.datasets[dataset()]?.commits == [1, 2])
    }

    @Test("takes the next number when the unanswered write lost to somebody else")
    func lostAnswerAndRace() throws {
        let store = FaultyObjectStore(MemoryObjectStore())
        let (mine, theirs) = (log(store, seed: 1), log(store, seed: 2))
        var (state, other) = (LogState(), LogState())
        var asked = 0
        let record = try mine.append(to: &state) { state throws(RecordLogError) in
            asked += 1
            if asked == 1 {
                _ = try theirs.append(to: &other) { state throws(RecordLogError) in
                    state.nextCommit(snapshot(1))
                }
                store.on(.create, 1, .fails(.unavailable))
            }
            return state.nextCommit(snapshot(2))
        }
        #expect(record?.sequence == 2)
        #expect(try theirs.replay() == state)
    }

    @Test("says that the outcome is unknown when the store stays away, and not when it refuses")
    func storeGone() throws {
        let store = FaultyObjectStore(MemoryObjectStore())
        var state = LogState()
        for number in 1...50 { store.on(.create, number, .fails(.unavailable)) }
        let error = #expect(throws: RecordLogError.self) { try commit(snapshot(1), log(store), &state) }
        guard case .outcomeUnknown(key: "log/00000000000000000001", _, _) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        let full = FaultyObjectStore(MemoryObjectStore())
        full.on(.create, 1, .fails(.noSpace))
        guard
            case .store(let cause) = #expect(
                throws: RecordLogError.self, performing: { try commit(snapshot(1), log(full), &state) })
        else { return }
        #expect(cause.code == .noSpace)
    }

    @Test("names the record that is missing, damaged, foreign or swapped")
    func damagedLog() throws {
        func damage(_ body: (MemoryObjectStore, [ObjectKey]) throws -> Void) throws -> RecordLogError? {
            let store = MemoryObjectStore()
            var state = LogState()
            for number: UInt8 in 1...4 { try commit(snapshot(number), log(store), &state) }
            try body(store, (1...4).compactMap { LogKey.of($0) })
            return #expect(throws: RecordLogError.self) { try log(store).replay() }
        }
        let second = "log/00000000000000000002"
        let gap = try damage { store, keys in try store.delete(keys[1]) }
        #expect(gap == .gap(missing: second, next: "log/00000000000000000004", location: "memory://"))
        let flipped = try damage { store, keys in
            var bytes = try store.readAll(keys[1], limit: 1 << 20)
            bytes[40] ^= 1
            store.replace(keys[1], with: bytes)
        }
        #expect(flipped == .damaged(key: second, location: "memory://", .hashMismatch))
        let empty = try damage { store, keys in store.replace(keys[1], with: []) }
        #expect(empty == .damaged(key: second, location: "memory://", .truncated(bytes: 0)))
        let huge = try damage { store, keys in
            store.replace(keys[1], with: [UInt8](repeating: 0, count: 2 << 20))
        }
        #expect(huge == .damaged(key: second, location: "memory://", .badLength))
        let swapped = try damage { store, keys in
            store.replace(keys[1], with: try store.readAll(keys[2], limit: 1 << 20))
        }
        #expect(swapped == .damaged(key: second, location: "memory://", .misplaced("it is record 3")))
        // The second record of another store: right in itself, but not after this first one.
        let foreign = try damage { store, keys in
            let other = MemoryObjectStore()
            var state = LogState()
            for number: UInt8 in 8...9 { try commit(snapshot(number), log(other, seed: 9), &state) }
            store.replace(keys[1], with: try other.readAll(keys[1], limit: 1 << 20))
        }
        guard case .damaged(key: second, _, .misplaced) = foreign else {
            Issue.record("\(String(describing: foreign))")
            return
        }
    }

    @Test("notices that the end of the log it knew is gone")
    func lostEnd() throws {
        let store = MemoryObjectStore()
        let log = log(store)
        var state = LogState()
        for number: UInt8 in 1...3 { try commit(snapshot(number), log, &state) }
        try store.delete(try #require(LogKey.of(3)))
        #expect(throws: RecordLogError.self) { try log.replay(into: &state) }
        try store.delete(try #require(LogKey.of(2)))
        try store.delete(try #require(LogKey.of(1)))
        #expect(throws: RecordLogError.self) { try log.replay(into: &state) }
    }

    @Test("loses nothing and leaves no gap with eight writers at once on a directory")
    func concurrentWriters() throws {
        let directory = try TemporaryDirectory()
        try write(writers: 8, commits: 12, to: FileObjectStore(directory.path)) { _ in
            FileObjectStore(directory.path)
        }
    }

    @Test("nor when requests and answers get lost")
    func concurrentWritersWithFaults() throws {
        let shared = MemoryObjectStore()
        try write(writers: 8, commits: 12, to: shared) { writer in
            FaultyObjectStore(shared, seed: UInt64(writer), rate: 0.2)
        }
    }

    /// Each writer commits to its own dataset and to one that all share; what it was told is durable must be there,
    /// once.
    private func write(
        writers: Int, commits: Int, to store: any ObjectStore,
        through makeStore: @escaping @Sendable (Int) -> any ObjectStore
    ) throws {
        let acknowledged = Mutex<[LogRecord]>([])
        try inParallel(writers) { writer in
            let log = RecordLog(makeStore(writer), author: "writer-\(writer)", pause: { _ in })
            var state = LogState()
            for number in 0..<commits {
                let name = number.isMultiple(of: 2) ? dataset("shared") : dataset("own-\(writer)")
                let id = snapshot(UInt8(writer), UInt8(number))
                while true {
                    do {
                        let record = try log.append(to: &state) { state throws(RecordLogError) in
                            state.nextCommit(id, in: name)
                        }
                        if let record { acknowledged.withLock { $0.append(record) } }
                        break
                    } catch let error as RecordLogError {
                        // A read that failed; nothing was written.
                        guard case .store(let cause) = error, cause.retryable else { throw error }
                    }
                }
            }
        }
        let records = acknowledged.withLock { $0 }.sorted { $0.sequence < $1.sequence }
        #expect(records.map(\.sequence) == (1...UInt64(writers * commits)).map { $0 })
        let state = try RecordLog(store, author: "reader").replay()
        #expect(state.sequence == UInt64(writers * commits))
        #expect(state.voidRecords.isEmpty)
        for record in records { #expect(state.commits[record.sequence]?.record == record) }
    }
}
