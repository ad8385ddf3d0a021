package import ObjectStore

/// Why a store's log could not be read or added to.
package enum RecordLogError: Error, Hashable, Sendable {
    case store(ObjectStoreError)
    /// A record is not what was written.
    case damaged(key: String, location: String, LogDamage)
    /// A record is missing although a later one (`next`) is there.
    case gap(missing: String, next: String, location: String)
    /// The change cannot follow what others wrote.
    case conflict(LogConflict)
    /// The record does not fit the limit of the format, mostly because of its message or metadata.
    case tooLarge(limit: Int)
    /// The store stopped answering in the middle: the record may be there or come to be.
    case outcomeUnknown(key: String, location: String, cause: ObjectStoreError)
    /// Others were faster so often that this one gave up.
    case busy(attempts: Int, location: String)
}

extension RecordLogError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .store(let error): error.description
        case .damaged(let key, let location, let damage):
            "object \(key) in \(location) is not the log record it should be: \(damage); "
                + (damage.needsNewerProgram
                    ? "update kaml to read this store"
                    : "restore it from a copy of the store, and run `kaml check` to learn what else is affected")
        case .gap(let missing, let next, let location):
            "the log of \(location) has a gap: \(missing) is not there but \(next) is; "
                + "restore it from a copy of the store"
        case .conflict(let conflict): conflict.description
        case .tooLarge(let limit):
            "the log record would have more than \(limit) bytes; shorten the message or the metadata"
        case .outcomeUnknown(let key, let location, let cause):
            "nobody knows whether \(key) was written to \(location): \(cause.description); "
                + "look with `kaml log` before doing it again"
        case .busy(let attempts, let location):
            "others wrote to the log of \(location) faster, \(attempts) times; try again later"
        }
    }
}

extension LogDamage {
    var needsNewerProgram: Bool {
        switch self {
        case .newerFormat, .unknownChange: true
        default: false
        }
    }
}
