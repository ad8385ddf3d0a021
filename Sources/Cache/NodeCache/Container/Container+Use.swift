import DatasetStore
import Glibc
import Synchronization
import System

/// How a container's files, mapping and footer come and go under those who read it.
///
/// `users` counts everybody who looks at bits, bytes or the footer: a read for the length of its reply, a miss from its
/// request to its answer, a fetch job while it writes. What they lean on is taken away only after `users` was moved
/// from 0 to below zero in one step, so nobody is inside and nobody comes in; then all bits are cleared, and whoever comes
/// next misses and goes the way of a miss, which opens the files again. So a reply never comes from a page whose file
/// was evicted, a chunk is never written into one file and promised for another, and a mapping never goes while
/// the kernel copies from it. Descriptors that the kernel holds (passthrough, mappings of pods) keep their inode.
///
/// Taking away is work in memory; closing, unlinking and unmapping come after it, while the registry keeps others
/// from opening the files again.
extension Container {
    /// Far enough below zero that all threads of a machine together do not reach it from there.
    private static let leaving = Int.min / 2

    /// Begins a use. False while the files are being taken away: nothing is present then, and `leave` is not owed.
    @inline(__always)
    package func enter() -> Bool {
        if users.wrappingAdd(1, ordering: .acquiring).oldValue >= 0 { return true }
        leave()
        return false
    }

    @inline(__always)
    package func leave() { users.wrappingSubtract(1, ordering: .releasing) }

    /// Whether nobody uses it now.
    var isIdle: Bool { users.load(ordering: .relaxed) == 0 && lends.load(ordering: .relaxed) == 0 }

    /// What was open, taken out of the container; nil when somebody uses it or there is nothing.
    func detach() -> OpenFiles? {
        guard lends.load(ordering: .relaxed) == 0, mayTakeBack else { return nil }
        let (isFree, _) = users.compareExchange(
            expected: 0, desired: Self.leaving, ordering: .acquiringAndReleasing)
        guard isFree else { return nil }
        defer { users.wrappingSubtract(Self.leaving, ordering: .releasing) }
        guard let open = takeFiles() else { return nil }
        footerLoader.drop()
        return open
    }

    /// Gives the footer's memory back, unless somebody uses the container. A container that is read by its manifest's
    /// records does well without.
    func dropFooter() {
        guard footerLoader.known != nil else { return }
        let (isFree, _) = users.compareExchange(
            expected: 0, desired: Self.leaving, ordering: .acquiringAndReleasing)
        guard isFree else { return }
        footerLoader.drop()
        users.wrappingSubtract(Self.leaving, ordering: .releasing)
    }

    /// A descriptor that was lent a moment ago may be on its way to the kernel although its file was released: the
    /// release of an earlier process's open looks the same.
    private var mayTakeBack: Bool {
        let time = lentTime.load(ordering: .relaxed)
        return time == 0 || context.clock.monotonicNanoseconds() > time &+ 60_000_000_000
    }

    /// Only for one who is alone with the container.
    func takeFiles() -> OpenFiles? {
        let taken = files.withLock { files in
            defer { files = nil }
            return files
        }
        guard let disk = taken else { return nil }
        isAwake.store(false, ordering: .releasing)
        trustedCount.store(0, ordering: .releasing)
        if disk.needsCleaning { needsCleaning.store(true, ordering: .relaxed) }
        bitmap.clear()
        let length = Int(pack.containerSize)
        return unsafe OpenFiles(
            disk: disk, bytes: mapping.exchange(nil, ordering: .acquiringAndReleasing), length: length,
            lent: lent.exchange(-1, ordering: .acquiringAndReleasing))
    }

    /// Opens the files and maps them. Only for the one who has the pack's entry in the registry, or the only reference.
    /// What the disk does not give is told once, and tried again after a pause.
    func wake(replacing: Bool = false) {
        let opening = ContainerOpening(context: context, pack: pack, replaces: replacing)
        guard opening.exists || context.space.admitsContainer(of: tenant.load(ordering: .relaxed)) else {
            return postponeWaking(Self.shortPause)
        }
        let opened: (disk: ContainerDisk, bitmap: PresenceBitmap)
        do throws(Errno) {
            opened = try opening.open()
        } catch {
            return fail(error)
        }
        if !isSealed {
            let length = Int(pack.containerSize)
            let address = unsafe mmap(nil, length, PROT_READ, MAP_SHARED, opened.disk.data.rawValue, 0)
            guard let address = unsafe address, unsafe address != MAP_FAILED else {
                return fail(Errno.last)
            }
            unsafe mapping.store(UnsafeRawPointer(address), ordering: .releasing)
        }
        files.withLock { $0 = opened.disk }
        isAwake.store(true, ordering: .releasing)
        needsCleaning.store(false, ordering: .relaxed)
        // The bits last: whoever sees one finds the bytes.
        for index in 0..<bitmap.pairCount {
            let pair = opened.bitmap.pair(index)
            bitmap.load(index, present: pair.present, trusted: pair.trusted)
        }
        trustedCount.store(bitmap.countTrusted(), ordering: .releasing)
    }

    private func fail(_ error: Errno) {
        postponeWaking(error.isExhaustion ? Self.shortPause : Self.retryPause)
        if error.isExhaustion {
            context.space.isExhausted.store(true, ordering: .relaxed)
            context.space.keeper.unpark()
        }
        context.noticeDiskTrouble(error)
    }

    /// Nanoseconds after which the keeper has closed or evicted what others do not need.
    private static let shortPause: UInt64 = 300_000_000

    /// What a container had open. Whoever has it alone lets go of it.
    @safe struct OpenFiles {
        let disk: ContainerDisk
        let bytes: UnsafeRawPointer?
        let length: Int
        let lent: Int32

        /// The descriptors of the files go with the last reference to `disk`.
        consuming func letGo() {
            if let bytes = unsafe bytes { unsafe munmap(UnsafeMutableRawPointer(mutating: bytes), length) }
            if lent >= 0 { Glibc.close(lent) }
        }
    }
}

/// A use of a container that lasts as long as the object.
final class ContainerUse: Sendable {
    let container: Container

    /// Waits while the container's files are being taken away, which is work in memory only.
    init(_ container: Container) {
        self.container = container
        while !container.enter() { sched_yield() }
    }

    deinit { container.leave() }
}

extension Errno {
    /// Descriptors, mappings or memory ran out: of this process or of the machine, not of the disk.
    var isExhaustion: Bool { [EMFILE, ENFILE, ENOMEM].contains(rawValue) }
}
