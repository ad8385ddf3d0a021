package import DatasetStore
package import FuseMount
package import NodeCache
package import ObjectStore
import RecordIndex
import Stores
package import System

extension ExitStatus {
    init(_ code: StoreError.Code) {
        self =
            switch code {
            case .damaged: .damaged
            case .unsupported: .unsupported
            case .notFound: .notFound
            case .conflict: .conflict
            case .invalidInput: .usage
            case .noSpace: .noSpace
            case .unavailable: .unavailable
            case .permissionDenied: .permissionDenied
            case .sourceChanged, .inputOutput: .failure
            }
    }

    init(_ code: ObjectStoreError.Code) {
        self.init(StoreError(ObjectStoreError(code, .read, key: "", location: "")).code)
    }

    init(_ errno: Errno) {
        self =
            switch errno {
            case .noEntry, .notDirectory: .notFound
            case .noSpace, .quotaExceeded: .noSpace
            case .accessDenied, .notPermitted, .readOnlyFileSystem: .permissionDenied
            case .alreadyExists, .busy: .conflict
            case .stale, .notConnected, .timedOut, .hostDown: .unavailable
            default: .failure
            }
    }
}

extension Failure {
    /// Any error that a command can meet. Unknown ones keep their own words.
    package init(_ error: any Error) {
        switch error {
        case let failure as Failure: self = failure
        case let error as StoreError: self.init(error)
        case let error as SnapshotReferenceError: self.init(error)
        case let error as RecordLogError: self.init(error)
        case let error as LogConflict: self.init(error)
        case let error as MountError: self.init(error)
        case let error as CacheError: self.init(error)
        case let error as ObjectStoreError: self.init(error)
        case let error as ObjectStoreURLError: self.init(.usage, "\(error)")
        case let error as StoreOpeningError: self.init(.usage, "\(error)")
        case let error as RecordIndexError: self.init(error)
        case let error as Errno: self.init(ExitStatus(error), "\(error)")
        default: self.init(.failure, "\(error)")
        }
    }

    package init(_ error: StoreError) {
        // Errors from below end in what to do, after a semicolon.
        let (what, why, hint) =
            error.remedy == nil ? Self.split(error.message) : (error.message, nil, error.remedy)
        self.init(
            ExitStatus(error.code), what, why: error.cause ?? why, hint: hint.map(Self.lowered),
            dataset: error.dataset,
            snapshot: error.snapshot, path: error.path, object: error.object)
    }

    /// A remedy is a sentence, a hint follows a colon. A word in capitals, such as an acronym, stays.
    static func lowered(_ sentence: String) -> String {
        guard let first = sentence.first, sentence.dropFirst().first?.isLowercase == true else {
            return sentence
        }
        return first.lowercased() + sentence.dropFirst()
    }

    /// An error of opening the store that a user named: the place may simply be wrong.
    ///
    /// A directory that is missing from one that is there is not found. Where that one is missing too, a disk may
    /// not be mounted, and the same command may work later: the store is unavailable.
    package init(opening error: StoreError, at place: ObjectStoreURL) {
        self.init(error)
        guard error.code == .unavailable else { return }
        // A bucket's own words say what to do.
        guard case .directory = place else { return }
        hint = "check the path, and that its disk is mounted; `kaml store init` makes a new store"
        switch place {
        case .directory(let path):
            let files = HostFileSystem()
            let slash = path.bytes.lastIndex(of: UInt8(ascii: "/")) ?? 0
            let parent = slash == 0 ? "/" : ByteString(Array(path.bytes[..<slash]))
            guard (try? files.status(of: parent.appending(".")))?.kind == .directory else { return }
            // Present but no directory, or a symlink to nothing, is no store either.
            do throws(Errno) { _ = try files.status(of: path.appending(".")) } catch {
                guard error == .noEntry || error == .notDirectory else { return }
                status = .notFound
                let isThere = (try? files.status(of: path)) != nil
                what = isThere ? "\(path) is not a directory" : "there is no directory \(path)"
                why = nil
                object = nil
                hint = "check the path; `kaml store init --store \(path)` makes a new store"
                if isThere { hint = "a store is a directory: check the path" }
            }
        case .bucket: break
        }
    }

    package init(_ error: MountError) {
        let status: ExitStatus =
            switch error.cause {
            case .missing, .notMounted: .notFound
            case .notDirectory, .notEmpty, .alreadyMounted, .busy: .conflict
            case .dead, .unresponsive, .holder: .unavailable
            case .deviceMissing, .helperMissing: .unsupported
            case .deviceNotPermitted, .otherUsersNotAllowed: .permissionDenied
            case .helperFailed: Self.isAboutTheDevice(error.cause) ? .permissionDenied : .failure
            case .systemCall(_, let errno): ExitStatus(errno)
            }
        // The description is "where: what; advice".
        let sentence = String(error.description.dropLast(error.advice.count + 2))
        self.init(status, sentence, hint: Self.hint(error))
    }

    /// What to do with this command; where it has no better way, the error's own advice.
    private static func hint(_ error: MountError) -> String {
        let path = error.mountPoint
        switch error.cause {
        case .notEmpty: return "choose an empty directory, or mount over its entries with --allow-non-empty"
        case .alreadyMounted: return "`kaml umount \(path)` unmounts it; or choose another directory"
        case .dead: return "`kaml umount \(path)` clears it, with --lazy when something still uses it"
        case .unresponsive:
            return "restart the process that serves it, or clear it with `kaml umount --lazy \(path)`"
        case .busy: return "close what uses it (fuser -vm \(path)), or `kaml umount --lazy \(path)`"
        case .deviceMissing: return HostFacts.missingDeviceRemedy
        case .deviceNotPermitted: return HostFacts.closedDeviceRemedy
        case .helperFailed where isAboutTheDevice(error.cause): return HostFacts.closedDeviceRemedy
        default: return error.advice
        }
    }

    /// fusermount3 opens /dev/fuse as the user, and says so in words only.
    private static func isAboutTheDevice(_ cause: MountError.Cause) -> Bool {
        guard case .helperFailed(let message) = cause else { return false }
        return ByteString(message).bytes.split(separator: UInt8(ascii: " ")).contains {
            $0.starts(with: "/dev/fuse".utf8)
        }
    }

    package init(_ error: CacheError) {
        let status: ExitStatus =
            switch error.code {
            case .inUse: .conflict
            case .unusable, .inputOutput, .exhausted, .closed: .failure
            case .unsupported: .unsupported
            case .damaged, .changed: .damaged
            case .notFound: .notFound
            case .unavailable: .unavailable
            case .permissionDenied: .permissionDenied
            }
        var hint = error.remedy
        if error.code == .inUse {
            hint =
                "ask the agent if one runs there (kaml status); else name another directory (--cache-dir, for kamld --cache-directory), or end the other process"
        }
        self.init(status, error.message, why: error.cause, hint: hint, object: error.object)
    }

    package init(_ error: ObjectStoreError) {
        self.init(StoreError(error))
        object = error.key.isEmpty ? nil : error.key
    }

    /// A failed system call on something that the user named.
    package init(_ doing: String, _ error: Errno, hint: String? = nil) {
        self.init(ExitStatus(error), doing, why: "\(error)", hint: hint)
    }
}
