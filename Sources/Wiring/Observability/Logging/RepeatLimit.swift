import Logging

/// Keeps a failing disk or store from filling the log: of one message of one logger a few come through in ten seconds, and
/// then one line tells how many did not. A pure state machine.
struct RepeatLimit {
    static let window: UInt64 = 10_000_000_000
    /// Of the same message, in one window.
    static let burst = 5
    /// Messages that are remembered at a time; while there are more, new ones come through.
    static let limit = 1000

    struct Key: Hashable {
        var logger: String
        var level: String
        var message: String
    }

    private struct Seen {
        var start: UInt64
        var count = 1
        var left: Int { max(0, count - RepeatLimit.burst) }
        /// The last one that was left out, to be told in its place.
        var last: LogRecord?
    }

    private var seen: [Key: Seen] = [:]

    /// The record, when it is to be written, with how many were left out before it; nil when it is left out.
    mutating func admit(_ record: LogRecord, now: UInt64) -> LogRecord? {
        let key = Key(logger: record.logger, level: record.level.rawValue, message: record.message)
        guard let known = seen[key] else {
            if seen.count < Self.limit { seen[key] = Seen(start: now) }
            return record
        }
        if now &- known.start >= Self.window {
            seen[key] = Seen(start: now)
            var record = record
            record.repeated = known.left
            return record
        }
        seen[key]?.count += 1
        if known.count < Self.burst { return record }
        seen[key]?.last = record
        return nil
    }

    /// What to tell of windows that have ended: how often the message was left out. Forgets them.
    mutating func ended(now: UInt64) -> [LogRecord] {
        var told: [LogRecord] = []
        for (key, known) in seen where now &- known.start >= Self.window {
            seen[key] = nil
            guard var last = known.last else { continue }
            // The record itself is one of them.
            last.repeated = known.left - 1
            told.append(last)
        }
        return told
    }
}
