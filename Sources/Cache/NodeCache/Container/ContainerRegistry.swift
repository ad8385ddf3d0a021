import DatasetStore
import ObjectStore
import Synchronization
import System

/// The containers that this process knows, each opened, closed or evicted by one thread while others wait.
///
/// The objects stay for the cache's life; their files are closed and unlinked (`Container+Use`).
final class ContainerRegistry: Sendable {
    private let context: CacheContext
    private let entries = Monitor<[PackID: Entry]>([:])
    /// Replaced by others, but perhaps still in somebody's hands.
    private let retired = Monitor<[Container]>([])

    private enum Entry {
        case opening
        case open(Container)
    }

    private enum Turn {
        case found(Container)
        case mine
        /// Known, but without its files.
        case wake(Container)
        /// Open under another description that nothing has confirmed.
        case challenge(Container)
    }

    init(_ context: CacheContext) { self.context = context }

    /// All containers that this process knows, those without their files too.
    var known: [Container] {
        entries.withLock { entries in
            entries.values.compactMap { if case .open(let container) = $0 { container } else { nil } }
        }
    }

    /// The pack's container when it is open.
    func find(_ pack: PackID) -> Container? {
        entries.withLock { if case .open(let container) = $0[pack] { container } else { nil } }
    }

    /// Closes the files of a container that nobody uses; false when somebody does.
    func sleep(_ container: Container) -> Bool {
        let id = container.pack.id
        let isFree = entries.withLock { entries in
            guard case .open(let known) = entries[id], known === container else { return false }
            entries[id] = .opening
            return true
        }
        guard isFree else { return false }
        let open = container.detach()
        open?.letGo()
        restore(id, container)
        return open != nil
    }

    /// Unlinks a container's files; the bytes of their blocks. When `forgetting`, also what first
    /// reads of imported objects found out. Throws `inUse` when somebody uses it.
    func evict(_ pack: PackID, forgetting: Bool = false) throws(CacheError) -> UInt64 {
        let container = entries.wait { entries -> Container?? in
            switch entries[pack] {
            case .opening: return nil
            case .open(let container):
                entries[pack] = .opening
                return .some(container)
            case nil:
                entries[pack] = .opening
                return .some(nil)
            }
        }
        defer { restore(pack, container) }
        let open = container?.detach()
        guard open != nil || container?.hasDisk != true else {
            throw CacheError(
                .inUse, "the container is in use", object: PackFormat.key(of: pack).text,
                remedy: "Evict it when nothing reads it")
        }
        // Before the unlinking, whose blocks become free only then.
        open?.letGo()
        container?.needsCleaning.store(false, ordering: .relaxed)
        return try unlink(pack, forgetting)
    }

    private func restore(_ pack: PackID, _ container: Container?) {
        entries.withLock { $0[pack] = container.map { .open($0) } }
        entries.wake()
    }

    private func unlink(_ pack: PackID, _ forgetting: Bool) throws(CacheError) -> UInt64 {
        var blocks: UInt64 = 0
        // Without its data a map is a lie, so it goes first.
        let hashes = forgetting ? [context.layout.hashes(pack)] : []
        for path in [context.layout.map(pack), context.layout.data(pack)] + hashes {
            do throws(Errno) {
                let status = try context.files.status(of: path)
                guard status.kind == .regular else { continue }
                try context.files.unlink(path)
                blocks &+= status.blocks
            } catch .noEntry {
            } catch {
                throw CacheError(
                    .inputOutput, "the container cannot be removed", object: PackFormat.key(of: pack).text,
                    cause: error, remedy: "Look at the health of the cache's disk")
            }
        }
        return blocks &* 512
    }

    func container(for pack: PackReference, origin: (any ObjectStore)?) throws(CacheError) -> Container {
        let turn = entries.wait { entries -> Turn? in
            switch entries[pack.id] {
            case .open(let container):
                if container.pack != pack, origin != nil, container.footerLoader.known == nil {
                    entries[pack.id] = .opening
                    return .challenge(container)
                }
                guard container.pack == pack, container.mayWake() else { return .found(container) }
                entries[pack.id] = .opening
                return .wake(container)
            case .opening: return nil
            case nil:
                entries[pack.id] = .opening
                return .mine
            }
        }
        switch turn {
        case .found(let container):
            guard container.pack == pack else { throw contradiction(pack) }
            if let origin { container.attach(origin) }
            return container
        case .wake(let container):
            defer { restore(pack.id, container) }
            if let origin { container.attach(origin) }
            // Files of another description are left to the challenge.
            if !ContainerOpening(context: context, pack: pack).isForAnother() { container.wake() }
            return container
        case .challenge(let old):
            defer { entries.wake() }
            // Nobody fills a container without files, nor one whose footer is not known, so the old one is in no way.
            do throws(CacheError) {
                let made = try make(pack, origin)
                // Without the footer the two are as good as each other; while the store is away nobody can tell.
                if let doubt = made.doubt, doubt.code != .damaged { throw doubt }
                guard made.isConfirmed || !old.hasDisk else { throw contradiction(pack) }
                retired.withLock { $0.append(old) }
                entries.withLock { $0[pack.id] = .open(made.container) }
                return made.container
            } catch {
                entries.withLock { $0[pack.id] = .open(old) }
                throw error
            }
        case .mine:
            defer { entries.wake() }
            do throws(CacheError) {
                let container = try make(pack, origin).container
                entries.withLock { $0[pack.id] = .open(container) }
                return container
            } catch {
                entries.withLock { $0[pack.id] = nil }
                throw error
            }
        }
    }

    /// Opens a container, over the files of another description of the pack only once the pack's own footer has confirmed
    /// this one: until then it does without files. May read the footer from the store.
    private func make(
        _ pack: PackReference, _ origin: (any ObjectStore)?
    ) throws(CacheError) -> Made {
        guard context.hasDisk, ContainerOpening(context: context, pack: pack).isForAnother() else {
            return Made(container: try Container(pack: pack, origin: origin, context: context))
        }
        let candidate = try Container(pack: pack, origin: origin, context: context, files: .none)
        do throws(CacheError) { _ = try candidate.footer() } catch {
            return Made(container: candidate, doubt: error)
        }
        let container = try Container(pack: pack, origin: origin, context: context, files: .replace)
        return Made(container: container, isConfirmed: true)
    }

    private struct Made {
        var container: Container
        /// Whether the pack's footer spoke for it; why it did not when it was asked.
        var isConfirmed = false
        var doubt: CacheError?
    }

    private func contradiction(_ pack: PackReference) -> CacheError {
        CacheError(
            .damaged, "two snapshots describe the pack differently", object: pack.key.text,
            remedy: "Run `kaml check` on both")
    }
}
