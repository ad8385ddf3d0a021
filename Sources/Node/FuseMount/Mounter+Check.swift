import Glibc
import Synchronization
package import System

/// What is looked at before a mount: every refusal here is clearer than the errno of mount(2).
extension Mounter {
    /// The resolved mount point, if it may be mounted over.
    package func checkedMountPoint() throws(MountError) -> ByteString {
        try refuseBelowOurs()
        let mountPoint: ByteString
        let entry: MountTableEntry?
        // A symlink may lead into a mount that nobody serves.
        guard let resolved = Self.canonicalInTime(options.mountPoint) else {
            throw MountError(options.mountPoint, .unresponsive)
        }
        do throws(Errno) {
            mountPoint = try resolved.get()
            entry = try MountTable.entry(at: mountPoint)
        } catch {
            throw Self.error(options.mountPoint, "resolving the path", error)
        }
        if let entry, entry.isFuse { try Self.refuse(entry) }
        do throws(Errno) {
            let directory = try FileDescriptor.open(mountPoint, O_RDONLY | O_DIRECTORY)
            if options.allowNonEmpty { return mountPoint }
            if try DirectoryReader.entries(of: directory).isEmpty { return mountPoint }
        } catch {
            throw Self.error(mountPoint, "opening the mount point", error)
        }
        throw MountError(mountPoint, .notEmpty)
    }

    /// Resolving a path that leads through a mount which nobody serves would never end.
    private func refuseBelowOurs() throws(MountError) {
        let mounts: [MountTableEntry]
        do throws(Errno) { mounts = try MountTable.read() } catch {
            throw Self.error(options.mountPoint, "reading the table of mounts", error)
        }
        guard
            let above = MountTable.entry(above: options.mountPoint, type: Self.fileSystemType, in: mounts)
        else { return }
        throw MountError(options.mountPoint, .belowMount(source: above.source, at: above.mountPoint))
    }

    /// Somebody else's living FUSE mount may be mounted over, like any other directory; ours may not.
    private static func refuse(_ entry: MountTableEntry) throws(MountError) {
        switch probe(entry.mountPoint) {
        case .dead: throw MountError(entry.mountPoint, .dead)
        case .silent: throw MountError(entry.mountPoint, .unresponsive)
        case .answers:
            if entry.type == fileSystemType {
                throw MountError(entry.mountPoint, .alreadyMounted(source: entry.source))
            }
        }
    }

    /// Nil when the path leads somewhere that does not answer; the thread that asked waits for it then.
    private static func canonicalInTime(_ path: ByteString) -> Result<ByteString, Errno>? {
        let resolution = Resolution()
        do throws(Errno) {
            try Thread(name: "kaml-probe") {
                let result = Result { () throws(Errno) in try MountTable.canonical(path) }
                resolution.result.withLock { $0 = result }
            }.detach()
        } catch {
            return .failure(error)
        }
        for _ in 0..<probeLooks {
            if let result = resolution.result.withLock({ $0 }) { return result }
            usleep(probePause)
        }
        return nil
    }

    private final class Resolution: Sendable {
        let result = Monitor<Result<ByteString, Errno>?>(nil)
    }

    /// Two seconds in all.
    private static let probeLooks = 400
    private static let probePause: UInt32 = 5000

    private enum ProbeOutcome: UInt8, AtomicRepresentable { case silent, answers, dead }

    private final class Probe: Sendable {
        let outcome = Atomic<ProbeOutcome>(.silent)
    }

    /// statvfs(3), since it is never answered from a cache; on a thread of its own, since it waits for ever
    /// where a living process does not serve.
    private static func probe(_ mountPoint: ByteString) -> ProbeOutcome {
        let probe = Probe()
        do throws(Errno) {
            try Thread(name: "kaml-probe") {
                var status = statvfs()
                let result = unsafe mountPoint.withCString { unsafe statvfs($0, &status) }
                let error: Int32 = result < 0 ? errno : 0
                let isDead = error == ENOTCONN || error == ECONNABORTED
                probe.outcome.store(isDead ? .dead : .answers, ordering: .releasing)
            }.detach()
        } catch {
            return .silent
        }
        for _ in 0..<probeLooks {
            let outcome = probe.outcome.load(ordering: .acquiring)
            if outcome != .silent { return outcome }
            usleep(probePause)
        }
        return .silent
    }

    static func error(_ mountPoint: ByteString, _ doing: String, _ error: Errno) -> MountError {
        switch error {
        case .noEntry: MountError(mountPoint, .missing)
        case .notDirectory: MountError(mountPoint, .notDirectory)
        case .notConnected: MountError(mountPoint, .dead)
        case .busy: MountError(mountPoint, .busy)
        default: MountError(mountPoint, .systemCall(name: doing, error: error))
        }
    }

    static func error(_ mountPoint: ByteString, _ failure: MountHelper.Failure) -> MountError {
        switch failure {
        case .said(let message):
            // The only failure worth a cause of its own: users meet it daily. The text is fusermount3's own.
            MountError(
                mountPoint,
                message.contains("Device or resource busy") ? .busy : .helperFailed(message: message))
        case .system(let name, let error):
            MountError(mountPoint, .systemCall(name: name, error: error))
        }
    }
}
