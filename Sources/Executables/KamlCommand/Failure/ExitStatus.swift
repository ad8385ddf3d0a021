/// How a command ended, as the shell sees it. The numbers are part of the contract and never change.
package enum ExitStatus: Int32, Sendable, CaseIterable {
    case ok = 0
    case failure = 1
    case usage = 2
    case notFound = 3
    case conflict = 4
    case damaged = 5
    case noSpace = 6
    case unavailable = 7
    case unsupported = 8
    case permissionDenied = 9

    /// The word in a JSON error object.
    package var word: String {
        switch self {
        case .ok: "ok"
        case .failure: "failure"
        case .usage: "usage"
        case .notFound: "notFound"
        case .conflict: "conflict"
        case .damaged: "damaged"
        case .noSpace: "noSpace"
        case .unavailable: "unavailable"
        case .unsupported: "unsupported"
        case .permissionDenied: "permissionDenied"
        }
    }

    package var meaning: String {
        switch self {
        case .ok: "done"
        case .failure: "failed in some other way; `doctor` found something that fails"
        case .usage: "the command line was not understood"
        case .notFound: "no such store, dataset, branch, tag, snapshot or path"
        case .conflict: "somebody else changed the same name first, or the name or target is taken"
        case .damaged: "damaged data was found (`check`), or met while reading"
        case .noSpace: "no space left in the store, the cache or the target"
        case .unavailable: "the store cannot be reached now; the same command may work later"
        case .unsupported: "the store needs a newer kaml, or the machine lacks something"
        case .permissionDenied: "permission denied"
        }
    }

    /// The table in the help texts.
    package static var help: String {
        "EXIT CODES:\n" + allCases.map { "  \($0.rawValue)  \($0.meaning)" }.joined(separator: "\n")
            + "\nA store's directory that is missing is 3; when the directory above it is missing too, a disk may not be\n"
            + "mounted, and it is 7."
    }
}
