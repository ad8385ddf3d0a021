import Chunking
import ObjectStore
import Synchronization
import System

/// What is done in order, by one thread at a time.
extension Pipeline {
    /// Hands a worked-on slot over. The thread that finds the next number appends all that is ready.
    func finish(_ slot: WorkSlot, _ worker: inout PieceWorker) throws(StoreError) {
        var next = turns.withLock { turns -> WorkSlot? in
            turns.ready[slot.sequence] = slot
            guard !turns.isTaken, let next = turns.ready.removeValue(forKey: turns.next) else { return nil }
            turns.isTaken = true
            return next
        }
        while let ready = next {
            try append(ready, &worker)
            release(ready)
            next = turns.withLock { turns in
                turns.next += 1
                let next = turns.ready.removeValue(forKey: turns.next)
                if next == nil { turns.isTaken = false }
                return next
            }
        }
    }

    private func append(_ slot: WorkSlot, _ worker: inout PieceWorker) throws(StoreError) {
        if slot.large != nil { try appendLarge(slot, &worker) } else { try appendSmall(slot) }
        meter.tick()
    }

    private func appendSmall(_ slot: WorkSlot) throws(StoreError) {
        for file in slot.files {
            if file.retries > 0 { results.changedWhileRead += 1 }
            switch file.outcome {
            case .empty: results.set(file.job, .empty)
            case .symlink(let target): results.set(file.job, .symlink(target))
            case .chunk(let index):
                let place = try results.packer.place(slot.chunks[index], of: slot, context)
                results.set(file.job, .chunk(place))
            case .otherSize:
                slots.withLock {
                    $0.late.append(LateJob(job: file.job, place: file.place, tries: file.tries + 1))
                }
                continue
            case .failed(let kind):
                results.set(file.job, .failed)
                results.problems.append(SourceProblem(path: tree.displayPath(file.place), kind: kind))
                continue
            }
            take(file.status, file.attributes, file.job, file.place)
        }
        meter.add(files: UInt64(slot.files.count), bytes: slot.chunks.reduce(0) { $0 + $1.length })
    }

    /// What the file said when it was read counts, not what the scan saw.
    private func take(
        _ status: FileStatus?, _ attributes: [ExtendedAttribute], _ job: ReadJob, _ place: SourcePlace
    ) {
        guard let status else { return }
        unsafe tree.arena(place).nodes[place.index].update(status)
        if !attributes.isEmpty { results.attributes[job.ordinal] = attributes }
    }

    private func appendLarge(_ slot: WorkSlot, _ worker: inout PieceWorker) throws(StoreError) {
        guard let file = slot.large else { return }
        if !file.hasChanged.load(ordering: .relaxed) {
            for draft in slot.chunks {
                try file.assembly.append(draft, of: slot, file, context, &worker.maker)
            }
            meter.add(files: 0, bytes: slot.length)
        }
        guard slot.isLastOfFile else { return }
        var isSame = false
        do throws(Errno) {
            isSame = try file.file.status().isSameVersion(as: file.status)
        } catch { file.fail(error) }
        if file.hasChanged.load(ordering: .relaxed) || !isSame {
            file.assembly.abandon()
            let late = LateJob(job: file.job, place: file.place, tries: file.tries + 1)
            if let error = file.failure, error != .stale { return record(late, .unreadable(error)) }
            results.changedWhileRead += 1
            slots.withLock { $0.late.append(late) }
            return
        }
        let contents = try file.assembly.finish(file, context, &worker.maker)
        results.newBytes += file.assembly.newBytes
        results.prefixFrames += file.assembly.prefixFrames
        results.contents.append(contents)
        results.set(file.job, .large(results.contents.count - 1))
        take(file.status, file.attributes, file.job, file.place)
        meter.add(files: 1, bytes: 0)
    }

    /// Everything that could not be read. Call when all threads have ended.
    func collectProblems() -> [SourceProblem] {
        for problem in pendingProblems.withLock({ $0 }) {
            results.set(problem.late.job, .failed)
            results.problems.append(
                SourceProblem(path: tree.displayPath(problem.late.place), kind: problem.kind))
        }
        return results.problems
    }
}
