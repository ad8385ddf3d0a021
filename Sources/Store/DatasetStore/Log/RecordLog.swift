import Chunking
import Glibc
package import ObjectStore
package import System

/// The append-only log of a store: objects `log/<20-digit number>` from 1 without a gap, made with
/// create-if-absent only.
///
/// Whoever appends writes the next number. If it is taken, it reads what the winner wrote, asks its caller
/// whether the change still makes sense, and takes the number after. No lock, no server.
package struct RecordLog: Sendable {
    private let store: any ObjectStore
    private let clock: any Clock
    private let random: any RandomSource
    private let writer: LogID
    private let author: String
    /// Called before the n-th repetition of a request that the store did not answer, n from 1.
    private let pause: @Sendable (Int) -> Void

    /// Repetitions of one unanswered request before the log gives up; with the default pauses about 25 s.
    private static let repetitions = 10
    /// Lost races before the log gives up. Each is somebody else's success, so this is never seen in practice.
    private static let races = 10_000

    /// `author` is `user@host`, for people.
    package init(
        _ store: any ObjectStore, author: String, clock: any Clock = HostClock(),
        random: any RandomSource = HostRandom(), pause: @escaping @Sendable (Int) -> Void = RecordLog.backOff
    ) {
        self.store = store
        self.author = author
        self.clock = clock
        self.random = random
        self.pause = pause
        writer = LogID(from: random)
    }

    /// A change on its way into the log.
    package struct Proposal: Sendable {
        /// Who made the change, and when, where it is not this writer now.
        package struct Origin: Hashable, Sendable {
            package var time: Timestamp
            package var author: String

            package init(time: Timestamp, author: String) {
                self.time = time
                self.author = author
            }
        }

        package var change: LogChange
        package var origin: Origin?

        package init(_ change: LogChange, origin: Origin? = nil) {
            self.change = change
            self.origin = origin
        }
    }

    /// Sleeps 50 ms, twice as long each time, at most 5 s.
    package static func backOff(_ repetition: Int) {
        usleep(min(5_000_000, 50_000 << UInt32(clamping: min(repetition - 1, 10))))
    }

    /// Brings a state up to the last record there is now. Start with an empty state; a kept one reads only
    /// what is new. Throws `damaged` or `gap` with the name of the object; `state` then holds what was before it.
    package func replay(into state: inout LogState) throws(RecordLogError) {
        // The last known record is listed again: a log that lost its end must not pass for one that has nothing new.
        let known = state.sequence
        let last = try lastSequence(after: known > 1 ? known - 1 : 0)
        guard last >= known else { throw gap(missing: known, next: last) }
        while state.sequence < last {
            let next = state.sequence &+ 1
            let end = min(last, next &+ (RecordReader.batch - 1))
            var keys: [ObjectKey] = []
            for sequence in next...end { keys.append(try key(sequence)) }
            for (key, answer) in zip(keys, RecordReader.read(keys, from: store)) {
                let next = state.sequence &+ 1
                guard try take(key, answer, into: &state) else { throw gap(missing: next, next: last) }
            }
        }
    }

    /// The state of the whole log.
    package func replay() throws(RecordLogError) -> LogState {
        var state = LogState()
        try replay(into: &state)
        return state
    }

    /// Appends the change that `propose` makes of the newest state, or nothing when it returns nil. It is asked
    /// again whenever somebody else was faster, and may throw then. Durable when this returns; `state` is the
    /// one after the record. Throws `conflict` for a change that breaks a rule, before it is written.
    package func append(
        to state: inout LogState, _ propose: (LogState) throws(RecordLogError) -> LogChange?
    ) throws(RecordLogError) -> LogRecord? {
        try appendProposal(to: &state) { state throws(RecordLogError) in
            try propose(state).map { Proposal($0) }
        }
    }

    /// As above, for a change that somebody else made at another time: in another store.
    package func appendProposal(
        to state: inout LogState, _ propose: (LogState) throws(RecordLogError) -> Proposal?
    ) throws(RecordLogError) -> LogRecord? {
        try replay(into: &state)
        // One id for all attempts: at whatever number it is found, it is this write.
        let write = LogID(from: random)
        for _ in 0..<Self.races {
            guard let proposal = try propose(state) else {
                try makeDurable(state)
                return nil
            }
            let change = proposal.change
            do throws(LogConflict) {
                try state.check(change)
            } catch {
                throw .conflict(error)
            }
            let record = LogRecord(
                sequence: state.sequence &+ 1, previous: state.lastHash, writer: writer, write: write,
                time: proposal.origin?.time ?? clock.now(), author: proposal.origin?.author ?? author,
                change: change)
            guard let (bytes, hash) = record.encoded() else {
                throw .tooLarge(limit: LogEnvelope.maximumBytes)
            }
            if try create(record, bytes) {
                state.apply(record, hash: hash)
                return record
            }
            while try take(state.sequence &+ 1, into: &state) {}
        }
        throw .busy(attempts: Self.races, location: store.location)
    }

    /// Makes the records of a state durable: whoever wrote the last one may have died before it was. To be called
    /// before it is acknowledged that nothing needs to change.
    package func makeDurable(_ state: LogState) throws(RecordLogError) {
        guard state.sequence > 0 else { return }
        let key = try key(state.sequence)
        do throws(ObjectStoreError) { try store.makeDurable(key) } catch { throw .store(error) }
    }

    /// Writes a record under its number; false when that is somebody else's.
    ///
    /// A request without an answer is simply made again: the number keeps it from being done twice, and what
    /// then stands there tells by its write id whose it is.
    private func create(_ record: LogRecord, _ bytes: [UInt8]) throws(RecordLogError) -> Bool {
        let key = try key(record.sequence)
        var repetition = 0
        while true {
            do throws(ObjectStoreError) {
                switch try store.createIfAbsent(key, bytes) {
                case .created: return true
                case .exists: break
                }
                return try store.readAll(key, limit: LogEnvelope.maximumBytes) == bytes
            } catch {
                guard error.retryable else { throw .store(error) }
                repetition += 1
                guard repetition <= Self.repetitions else {
                    throw .outcomeUnknown(key: key.text, location: store.location, cause: error)
                }
                pause(repetition)
            }
        }
    }

    /// Reads one record and applies it; false when it is not there.
    private func take(_ sequence: UInt64, into state: inout LogState) throws(RecordLogError) -> Bool {
        let key = try key(sequence)
        return try take(key, RecordReader.read(key, from: store), into: &state)
    }

    /// Applies the record that the store answered for the next key; false when it is not there.
    private func take(
        _ key: ObjectKey, _ answer: RecordReader.Answer, into state: inout LogState
    ) throws(RecordLogError) -> Bool {
        let sequence = state.sequence &+ 1
        let bytes: [UInt8]
        do throws(ObjectStoreError) {
            bytes = try answer.get()
        } catch {
            switch error.code {
            case .notFound: return false
            case .tooLarge: throw .damaged(key: key.text, location: store.location, .badLength)
            default: throw .store(error)
            }
        }
        do throws(LogDamage) {
            let (record, hash) = try LogRecord.decoded(bytes)
            guard record.sequence == sequence else { throw .misplaced("it is record \(record.sequence)") }
            guard record.previous == state.lastHash else {
                throw .misplaced("it does not follow the record before it")
            }
            state.apply(record, hash: hash)
            return true
        } catch {
            throw .damaged(key: key.text, location: store.location, error)
        }
    }

    /// The greatest number in the log, 0 when there is none after `after`.
    private func lastSequence(after: UInt64) throws(RecordLogError) -> UInt64 {
        var last: UInt64 = 0
        let start = after == 0 ? nil : try key(after).text
        do throws(ObjectStoreError) {
            try store.list(LogKey.prefix, after: start) { info throws(ObjectStoreError) in
                last = LogKey.sequence(of: info.key) ?? last
                return true
            }
        } catch {
            throw .store(error)
        }
        return last
    }

    private func key(_ sequence: UInt64) throws(RecordLogError) -> ObjectKey {
        guard let key = LogKey.of(sequence) else {
            throw .damaged(key: "log/\(sequence)", location: store.location, .badLength)
        }
        return key
    }

    private func gap(missing: UInt64, next: UInt64) -> RecordLogError {
        .gap(
            missing: LogKey.of(missing)?.text ?? "",
            next: next == 0 ? "the log" : LogKey.of(next)?.text ?? "",
            location: store.location)
    }
}
