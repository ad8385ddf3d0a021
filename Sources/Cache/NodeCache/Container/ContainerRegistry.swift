import DatasetStore
import ObjectStore
import System

/// The containers that are open, each opened by one thread while others wait.
///
/// Nothing is ever closed before the cache is. Limits on bytes, inodes and descriptors will hook in here:
/// an evicted container is unlinked whole and taken out of the table, and stays mapped for those who have it.
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
        /// Open, but its disk refused it a while ago.
        case again(Container)
        /// Open under another description that nothing has confirmed.
        case challenge(Container)
    }

    init(_ context: CacheContext) { self.context = context }

    var open: [Container] {
        entries.withLock { entries in
            entries.values.compactMap { if case .open(let container) = $0 { container } else { nil } }
        }
    }

    /// The pack's container when it is open.
    func find(_ pack: PackID) -> Container? {
        entries.withLock { if case .open(let container) = $0[pack] { container } else { nil } }
    }

    /// Unlinks the files of a container that is not open; the bytes of their blocks. When `forgetting`, also what first
    /// reads of imported objects found out.
    func evict(_ pack: PackID, forgetting: Bool = false) throws(CacheError) -> UInt64 {
        let isFree = entries.withLock { entries in
            guard entries[pack] == nil else { return false }
            entries[pack] = .opening
            return true
        }
        guard isFree else {
            throw CacheError(
                .inUse, "the container is open in this process", object: PackFormat.key(of: pack).text,
                remedy: "Evict it when nothing reads it")
        }
        defer {
            entries.withLock { $0[pack] = nil }
            entries.wake()
        }
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
                guard container.pack == pack, container.takesRetry() else { return .found(container) }
                entries[pack.id] = .opening
                return .again(container)
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
        case .again(let old):
            defer { entries.wake() }
            let origin = origin ?? old.origin
            let new = try? make(pack, origin).container
            guard let new, new.hasDisk else {
                entries.withLock { $0[pack.id] = .open(old) }
                if let origin { old.attach(origin) }
                return old
            }
            retired.withLock { $0.append(old) }
            entries.withLock { $0[pack.id] = .open(new) }
            return new
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
