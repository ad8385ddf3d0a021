import HTTPExchange

/// Which idle connection serves a request next: of the same origin, the one used last, so that those too many grow
/// old and go.
struct IdleConnections<Connection> {
    private struct Entry {
        var connection: Connection
        var since: UInt64
    }

    let maximum: Int
    let age: UInt64
    /// Per origin, longest idle first.
    private var entries: [HTTPOrigin: [Entry]] = [:]
    private(set) var count = 0
    /// Nothing is old before then.
    private var nextExpiry: UInt64 = 0

    /// `age` in nanoseconds.
    init(maximum: Int, age: UInt64) {
        self.maximum = maximum
        self.age = age
    }

    mutating func take(for origin: HTTPOrigin) -> Connection? {
        // In place, and an emptied list stays for the next `put`.
        guard let entry = entries[origin]?.popLast() else { return nil }
        count -= 1
        return entry.connection
    }

    /// Returns what is to be closed to stay within the bound.
    mutating func put(_ connection: Connection, for origin: HTTPOrigin, now: UInt64) -> [Connection] {
        guard maximum > 0 else { return [connection] }
        entries[origin, default: []].append(Entry(connection: connection, since: now))
        count += 1
        return count > maximum ? [removeOldest()].compactMap { $0 } : []
    }

    /// Returns those that were idle too long.
    mutating func expire(now: UInt64) -> [Connection] {
        guard count > 0, now > nextExpiry else { return [] }
        nextExpiry = .max
        defer { if count == 0 { nextExpiry = 0 } }
        var expired: [Connection] = []
        for (origin, list) in entries {
            let old = list.prefix { now > $0.since && now - $0.since > age }
            if old.count < list.count {
                let since = list[old.count].since
                nextExpiry = min(nextExpiry, age > .max - since ? .max : since + age)
            }
            expired += old.map(\.connection)
            if old.count == list.count {
                entries[origin] = nil
            } else if !old.isEmpty {
                entries[origin] = Array(list.dropFirst(old.count))
            }
        }
        count -= expired.count
        return expired
    }

    private mutating func removeOldest() -> Connection? {
        guard
            let origin = entries.min(by: { ($0.value.first?.since ?? .max) < ($1.value.first?.since ?? .max) }
            )?.key,
            var list = entries[origin], !list.isEmpty
        else { return nil }
        let entry = list.removeFirst()
        entries[origin] = list.isEmpty ? nil : list
        count -= 1
        return entry.connection
    }
}
