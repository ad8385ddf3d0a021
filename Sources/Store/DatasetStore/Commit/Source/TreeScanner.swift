import Glibc
import System

/// Reads a directory tree's names and metadata with several threads.
///
/// A directory is opened by its path below the root, with openat2(2)'s promise that no symlink was followed;
/// the path is as long as the format allows at most.
final class TreeScanner: @unchecked Sendable {
    // Sendable: `root` is only read; all else is under the monitor.
    private struct State {
        /// Directories found and not yet read.
        var pending: [Int] = []
        var directories: [SourceDirectory] = []
        var attributes: [ByteString: [ExtendedAttribute]] = [:]
        var problems: [SourceProblem] = []
        /// Threads at work, who may still find directories.
        var active = 0
        var waiting = 0
        var skipped: UInt64 = 0
    }

    private let root: Int32
    private let state = Monitor(State())

    /// `root` stays open as long as the scanner is in use.
    init(root: Int32) { self.root = root }

    /// - Parameter rootStatus: of the root, which no listing has.
    func scan(threads: Int, rootStatus: FileStatus) throws(StoreError) -> SourceTree {
        state.withLock { state in
            state.directories.append(
                SourceDirectory(keyPath: "", arena: 0, first: 0, count: 0, parent: -1))
            state.pending.append(0)
        }
        let arenas = (0..<threads).map { _ in SourceArena() }
        try runThreads(threads, name: "kaml-scan") { index in
            var worker = Worker(arena: arenas[index], index: index)
            self.run(&worker)
            unsafe worker.buffer.deallocate()
        }
        return finish(arenas, rootStatus)
    }

    @safe private struct Worker {
        let arena: SourceArena
        let index: Int
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 << 10, alignment: 8)
        var found: [(name: ByteString, node: SourceNode)] = []
        var problems: [SourceProblem] = []
        var skipped: UInt64 = 0
    }

    private func run(_ worker: inout Worker) {
        while true {
            let next = state.wait { state -> (Int, ByteString)?? in
                if let index = state.pending.popLast() {
                    state.active += 1
                    return .some((index, state.directories[index].keyPath))
                }
                if state.active == 0 { return .some(nil) }
                return nil
            }
            guard let (index, path) = next else {
                state.wake()
                return
            }
            let first = worker.arena.count
            var attributes: [ExtendedAttribute] = []
            readDirectory(path, &worker, &attributes)
            let (arena, count, skipped) = (worker.index, worker.arena.count - first, worker.skipped)
            let (found, problems) = (worker.found, worker.problems)
            state.withLock { state in
                state.directories[index].arena = arena
                state.directories[index].first = first
                state.directories[index].count = count
                if !attributes.isEmpty { state.attributes[path] = attributes }
                for child in found {
                    let keyPath = ManifestEntry.keyPath(directory: path, name: child.name)
                    state.pending.append(state.directories.count)
                    state.directories.append(
                        SourceDirectory(keyPath: keyPath, arena: 0, first: 0, count: 0, parent: index))
                }
                state.problems += problems
                state.skipped += skipped
                state.active -= 1
            }
            state.wake()
            worker.found = []
            worker.problems = []
            worker.skipped = 0
        }
    }

    private func readDirectory(
        _ keyPath: ByteString, _ worker: inout Worker, _ attributes: inout [ExtendedAttribute]
    ) {
        let arena = worker.arena
        let first = arena.count
        let display = ManifestEntry.displayPath(keyPath: keyPath)
        guard keyPath.count < ManifestFormat.maximumPathLength else {
            worker.problems.append(SourceProblem(path: display.description, kind: .pathTooLong))
            return
        }
        do throws(Errno) {
            let directory = try SourceFiles.openDirectory(keyPath, below: root)
            attributes = try SourceFiles.attributes(of: directory)
            let descriptor = directory.rawValue
            var problems: [SourceProblem] = []
            var skipped: UInt64 = 0
            try unsafe DirectoryReader.forEachName(of: directory, worker.buffer) { name in
                // Some network file systems have them; a name cut short would be another file's.
                guard name.count - 1 <= ManifestFormat.maximumNameLength else {
                    let path = unsafe display.appending(
                        ByteString(UnsafeRawBufferPointer(rebasing: name.dropLast())))
                    problems.append(SourceProblem(path: path.description, kind: .nameTooLong))
                    return
                }
                let offset = unsafe arena.appendName(name)
                guard let base = name.baseAddress else { return }
                do throws(Errno) {
                    let status = try unsafe FileStatus.of(
                        base.assumingMemoryBound(to: CChar.self), in: descriptor)
                    if status.kind == .other {
                        skipped += 1
                        arena.dropName(at: offset)
                        return
                    }
                    arena.append(
                        SourceNode(status, nameOffset: offset, nameLength: UInt8(name.count - 1)))
                } catch {
                    arena.dropName(at: offset)
                    // Removed between the listing and now: as if it had been removed before.
                    if error == .noEntry { return }
                    let path = unsafe display.appending(
                        ByteString(UnsafeRawBufferPointer(rebasing: name.dropLast())))
                    problems.append(SourceProblem(path: path.description, kind: .unreadable(error)))
                }
            }
            worker.problems += problems
            worker.skipped += skipped
        } catch {
            let kind: SourceProblem.Kind =
                error == .noEntry || error == .loop ? .vanished : .unreadable(error)
            worker.problems.append(
                SourceProblem(path: display.isEmpty ? "." : display.description, kind: kind))
        }
        arena.sort(from: first)
        for index in first..<arena.count where unsafe arena.nodes[index].kind == .directory {
            unsafe worker.found.append((ByteString(arena.name(arena.nodes[index])), arena.nodes[index]))
        }
    }

    /// Puts the directories into the order of their paths and numbers the entries.
    private func finish(_ arenas: [SourceArena], _ rootStatus: FileStatus) -> SourceTree {
        state.withLock { state in
            var directories = state.directories
            directories.sort { $0.keyPath < $1.keyPath }
            var next: UInt64 = 1
            for index in directories.indices {
                directories[index].firstOrdinal = next
                next += UInt64(directories[index].count)
            }
            return SourceTree(
                arenas: arenas, directories: directories, directoryAttributes: state.attributes,
                root: rootStatus, entryCount: next, skippedSpecial: state.skipped, problems: state.problems)
        }
    }
}

/// Opens parts of the source tree without ever leaving it.
enum SourceFiles {
    static func openDirectory(_ keyPath: ByteString, below root: Int32) throws(Errno) -> FileDescriptor {
        let flags = O_RDONLY | O_DIRECTORY | O_NONBLOCK
        if keyPath.isEmpty { return try FileDescriptor.open(".", in: root, flags) }
        return try FileDescriptor.open(beneath: root, ManifestEntry.displayPath(keyPath: keyPath), flags)
    }

    static func attributes(of file: borrowing FileDescriptor) throws(Errno) -> [ExtendedAttribute] {
        try userAttributes(of: file).map { ExtendedAttribute(name: $0.name, value: $0.value) }
            .filter { !$0.isReserved }
    }
}

/// Runs `body` on `count` threads, with their number, and `meanwhile` on this one; waits for all. At least one
/// thread is started, or it throws.
func runThreads(
    _ count: Int, name: String, _ body: @escaping @Sendable (Int) -> Void, meanwhile: () -> Void = {}
) throws(StoreError) {
    // Threads are move-only, so they are kept in a list that consumes them.
    var started: [UnsafeMutablePointer<Thread>] = unsafe []
    defer {
        for index in unsafe started.indices {
            let pointer = unsafe started[index]
            unsafe pointer.move().join()
            unsafe pointer.deallocate()
        }
    }
    for index in 0..<count {
        do throws(Errno) {
            let thread = try Thread(name: name) { body(index) }
            let pointer = UnsafeMutablePointer<Thread>.allocate(capacity: 1)
            unsafe pointer.initialize(to: thread)
            unsafe started.append(pointer)
        } catch {
            // Fewer threads do the same work, as long as there is one.
            guard unsafe !started.isEmpty else {
                throw StoreError(.unavailable, "no thread could be started", cause: error)
            }
            break
        }
    }
    meanwhile()
}
