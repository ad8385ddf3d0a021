package import System

/// What an agent refuses, in words for whoever asked.
package enum AgentError: Error, Sendable, Hashable, CustomStringConvertible {
    case overloaded(Int)
    case ending
    case tooManyMounts(Int)
    case taken(ByteString, by: String)
    /// The name of a mount means another snapshot by now.
    case moved(ByteString, name: String, mounted: String, now: String)
    case mounting(ByteString)
    case notMounted(String)
    case invalid(String, hint: String)
    case noStore
    case unknownStore(String, known: [String])
    case notYet(String)
    case stranded(ByteString, String)

    /// A word of the list that clients know.
    package var reason: String {
        switch self {
        case .overloaded, .ending, .mounting, .notYet, .stranded: "unavailable"
        case .tooManyMounts, .taken, .moved: "conflict"
        case .notMounted, .unknownStore: "notFound"
        case .invalid, .noStore: "usage"
        }
    }

    package var message: String {
        switch self {
        case .overloaded(let limit): "\(limit) operations hang in stores or disks already"
        case .ending: "the agent is ending"
        case .tooManyMounts(let limit): "there are \(limit) mounts, which is the configured limit"
        case .taken(let place, let name): "\(name) is mounted at \(place) already"
        case .moved(let place, let name, let mounted, let now):
            "\(name) is mounted at \(place) as of snapshot \(mounted.prefix(12)), and is \(now.prefix(12)) by now"
        case .mounting(let place): "\(place) is being mounted"
        case .notMounted(let place): "the agent has no mount at \(place)"
        case .invalid(let what, _): what
        case .noStore: "no store is named"
        case .unknownStore(let name, _): "the agent knows no store \"\(name)\""
        case .notYet(let what): what
        case .stranded(let place, let why): "the mount at \(place) cannot be gone on with: \(why)"
        }
    }

    package var hint: String {
        switch self {
        case .overloaded: "`kaml status` tells what is wrong; try again later"
        case .ending: "try again when it has started again"
        case .tooManyMounts: "unmount some, or raise mounts.maximum"
        case .moved(let place, _, _, _):
            "a mount never changes: `kaml umount \(place)`, then mount again; or choose another directory"
        case .taken(let place, _): "`kaml umount \(place)` unmounts it; or choose another directory"
        case .mounting: "try again when it is mounted, or has failed"
        case .notMounted: "`kaml status` lists the mounts"
        case .invalid(_, let hint): hint
        case .noStore: "give --store, or set stores.default in the agent's configuration"
        case .unknownStore(_, let known):
            known.isEmpty
                ? "give a URL, or name the store below stores in the agent's configuration"
                : "it knows \(known.joined(separator: ", ")); or give a URL"
        case .notYet: "try again in a moment"
        case .stranded(let place, _):
            "it is tried again and again, and its users wait; `kaml umount \(place)` gives it up"
        }
    }

    package var description: String { "\(message); \(hint)" }
}
