import Chunking
import ObjectStore
import Synchronization
import System

/// Which work comes next: large files first, then small ones, then those that must be read once more.
extension Pipeline {
    /// Gives the slot the next number and its work; false when there is none now.
    func claim(_ slot: WorkSlot, _ worker: inout PieceWorker) throws(StoreError) -> Bool {
        var batch: [LateJob] = []
        let claimed = try claims.withLock { claims throws(StoreError) -> Bool in
            while true {
                if let file = claims.current {
                    file.cutNext(into: slot)
                    if slot.isLastOfFile { claims.current = nil }
                    slot.sequence = claims.sequence
                    claims.sequence += 1
                    return true
                }
                if !batch.isEmpty {
                    slot.sequence = claims.sequence
                    claims.sequence += 1
                    return true
                }
                if let next = nextLarge(&claims) {
                    claims.current = try startLarge(next, &batch)
                    continue
                }
                takeSmall(&claims, &batch)
                if !batch.isEmpty { continue }
                guard let late = slots.withLock({ $0.late.popLast() }) else { return false }
                claims.current = try startLarge(late, &batch)
            }
        }
        if !batch.isEmpty { worker.files.fill(slot, batch) }
        return claimed
    }

    private func nextLarge(_ claims: inout Claims) -> LateJob? {
        guard claims.nextLarge < comparison.largeReads.count else { return nil }
        let index = claims.nextLarge
        claims.nextLarge += 1
        let ordinal = UInt64(comparison.largeReads[index])
        let job = ReadJob(isSmallList: false, index: index, ordinal: ordinal)
        return LateJob(job: job, place: tree.locate(ordinal), tries: 0)
    }

    private func takeSmall(_ claims: inout Claims, _ batch: inout [LateJob]) {
        var bytes: UInt64 = 0
        while claims.nextSmall < comparison.smallReads.count, batch.count < 512 {
            let index = claims.nextSmall
            let ordinal = UInt64(comparison.smallReads[index])
            let place = tree.locate(ordinal)
            let size = tree.node(place).size + 1
            if bytes + size > UInt64(WorkSlot.target), !batch.isEmpty { return }
            bytes += size
            claims.nextSmall += 1
            let job = ReadJob(isSmallList: true, index: index, ordinal: ordinal)
            batch.append(LateJob(job: job, place: place, tries: 0))
        }
    }

    /// Opens a file that is large, or that was found to have another size than the scan said. Small ones go
    /// to `batch`; nil also when it cannot be read, which is recorded.
    private func startLarge(
        _ late: LateJob, _ batch: inout [LateJob]
    ) throws(StoreError) -> LargeFile? {
        guard late.tries < 3 else {
            record(late, .changing)
            return nil
        }
        do throws(Errno) {
            let arena = tree.arena(late.place)
            var directory: OpenDirectory?
            let file = try access.open(late.place, in: tree, &directory)
            let status = try file.status()
            guard status.kind == .regular,
                unsafe comparison.links.isExpected(status, arena.nodes[late.place.index], late.job.ordinal)
            else { throw .noEntry }
            if status.size <= UInt64(parameters.wholeLimit) {
                batch.append(late)
                return nil
            }
            let attributes = try file.attributes()
            let kind = try unsafe classify(file, arena.nodes[late.place.index], arena, status.size)
            let old = try oldVersion(late.job.ordinal)
            switch old {
            case .success(let old):
                return LargeFile(
                    late.job, late.place, file, status, attributes, kind, old, parameters, tries: late.tries)
            case .failure(let error): fail(error)
            }
            return nil
        } catch .stale {
            slots.withLock {
                $0.late.append(LateJob(job: late.job, place: late.place, tries: late.tries + 1))
            }
            return nil
        } catch {
            let vanished = error == .noEntry || error == .loop || error == .notDirectory
            record(late, vanished ? .vanished : .unreadable(error))
            return nil
        }
    }

    func record(_ late: LateJob, _ kind: SourceProblem.Kind) {
        pendingProblems.withLock { $0.append(PendingProblem(late: late, kind: kind)) }
    }

    private func classify(
        _ file: any SourceFile, _ node: SourceNode, _ arena: SourceArena, _ size: UInt64
    ) throws(Errno) -> ChunkerKind {
        let head = UnsafeMutableRawBufferPointer.allocate(byteCount: FileClassifier.headSize, alignment: 64)
        defer { unsafe head.deallocate() }
        let count = try unsafe file.read(into: head, at: 0)
        return unsafe FileClassifier(parameters).classify(
            size: size, name: ByteString(arena.name(node)),
            head: UnsafeRawBufferPointer(rebasing: head[..<count]))
    }

    private func oldVersion(_ ordinal: UInt64) throws(Errno) -> Result<OldVersion?, StoreError> {
        let known = comparison.parentOrdinals[Int(ordinal)]
        guard let parent, known != Comparison.noParent else { return .success(nil) }
        do throws(StoreError) {
            guard var place = try parent.place(ofOrdinal: UInt64(known)) else { return .success(nil) }
            place = try parent.resolve(place)
            return unsafe .success(OldVersion(place.shard.pointee.view.entry(place.index), context.catalog))
        } catch { return .failure(error) }
    }
}
