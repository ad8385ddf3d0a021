import Chunking
import DatasetStore
import KamlTestSupport
import System
import Testing

/// Two logs as pure states: what the plan asks for is applied, as a store's log would.
@Suite("The plan of a transfer")
struct TransferPlanTests {
    private func commit(
        _ state: inout LogState, _ id: UInt8, on branch: RefName = .main, time: Int64 = 0
    ) {
        let change = state.nextCommit(snapshot(id), on: branch)
        add(
            change, to: &state,
            time: Timestamp(seconds: time == 0 ? Int64(state.sequence) + 1_000 : time, nanoseconds: 0))
    }

    private func add(
        _ change: LogChange, to state: inout LogState, time: Timestamp, author: String = "me@here"
    ) {
        let next = state.sequence + 1
        state.apply(
            LogRecord(
                sequence: next, previous: state.lastHash, writer: logID(1), write: logID(2), time: time,
                author: author, change: change), hash: snapshot(UInt8(truncatingIfNeeded: next), 255))
    }

    private func plan(_ state: LogState, _ branch: RefName = .main, depth: Int? = nil) throws -> TransferPlan
    {
        let head = try #require(state.head(of: branch, in: dataset()))
        return TransferPlan(
            dataset: dataset(), branch: branch, history: state.history(of: head).map(MovedCommit.init),
            depth: depth)
    }

    /// Applies what the plan wants until it wants no more. Every record must be one that the rules allow.
    @discardableResult
    private func carryOut(_ plan: TransferPlan, _ state: inout LogState) throws -> TransferPlan.Step {
        for _ in 0...(plan.commits.count + 1) {
            let step = plan.step(in: state)
            guard case .record(let proposal) = step else { return step }
            try state.check(proposal.change)
            add(
                proposal.change, to: &state,
                time: proposal.origin?.time ?? Timestamp(seconds: 0, nanoseconds: 0),
                author: proposal.origin?.author ?? "")
        }
        Issue.record("the plan does not end")
        return plan.step(in: state)
    }

    private func history(_ state: LogState, _ branch: RefName = .main) -> [ContentHash] {
        state.head(of: branch, in: dataset()).map { state.history(of: $0).map(\.commit.snapshot) } ?? []
    }

    private func isDone(_ step: TransferPlan.Step, ahead: UInt64 = 0) -> Bool {
        if case .done(ahead) = step { true } else { false }
    }

    private func isDiverged(_ step: TransferPlan.Step) -> Bool {
        if case .diverged = step { true } else { false }
    }

    @Test("an empty target gets the whole history, with times and authors")
    func wholeHistory() throws {
        var (source, target) = (LogState(), LogState())
        for id in 1...3 as ClosedRange<UInt8> { commit(&source, id) }
        #expect(try isDone(carryOut(plan(source), &target)))
        #expect(history(target) == [snapshot(1), snapshot(2), snapshot(3)])
        let (from, to) = (
            source.commits.values.map(\.record.time.seconds), target.commits.values.map(\.record.time.seconds)
        )
        #expect(from.sorted() == to.sorted())
        #expect(target.commits.values.allSatisfy { $0.record.author == "me@here" })
    }

    @Test("a second transfer brings what is new only")
    func incremental() throws {
        var (source, target) = (LogState(), LogState())
        for id in 1...3 as ClosedRange<UInt8> { commit(&source, id) }
        try carryOut(plan(source), &target)
        commit(&source, 4)
        let again = try plan(source)
        #expect(again.missing(in: target).map(\.snapshot) == [snapshot(4)])
        #expect(again.newestKnown(in: target)?.snapshot == snapshot(3))
        try carryOut(again, &target)
        #expect(target.sequence == 4)
        #expect(try isDone(plan(source).step(in: target)))
    }

    @Test("--depth brings the newest commits only, onto what is there")
    func depth() throws {
        var (source, target) = (LogState(), LogState())
        commit(&source, 1)
        try carryOut(plan(source), &target)
        for id in 2...6 as ClosedRange<UInt8> { commit(&source, id) }
        try carryOut(plan(source, depth: 2), &target)
        #expect(history(target) == [snapshot(1), snapshot(5), snapshot(6)])
        var fresh = LogState()
        try carryOut(plan(source, depth: 1), &fresh)
        #expect(history(fresh) == [snapshot(6)])
    }

    @Test("commits of the target are never lost")
    func diverged() throws {
        var (source, target) = (LogState(), LogState())
        for id in 1...2 as ClosedRange<UInt8> { commit(&source, id) }
        try carryOut(plan(source), &target)
        commit(&source, 3)
        commit(&target, 9)
        let before = target
        let moved = try plan(source)
        #expect(isDiverged(moved.step(in: target)))
        #expect(moved.missing(in: target).isEmpty)
        #expect(target == before)
    }

    @Test("a target that is ahead has all that is wanted")
    func ahead() throws {
        var (source, target) = (LogState(), LogState())
        commit(&source, 1)
        try carryOut(plan(source), &target)
        let first = try plan(source)
        for id in 2...3 as ClosedRange<UInt8> { commit(&target, id, time: 77 + Int64(id)) }
        // Back to the first tree, by a commit of its own.
        commit(&target, 1, time: 99)
        #expect(isDone(first.step(in: target), ahead: 3))
    }

    @Test("the same contents committed in both stores are common ground")
    func sameContents() throws {
        var (source, target) = (LogState(), LogState())
        commit(&source, 1, time: 5)
        commit(&target, 1, time: 6)
        commit(&source, 2)
        #expect(try isDone(carryOut(plan(source), &target)))
        #expect(history(target) == [snapshot(1), snapshot(2)])
    }

    @Test("what another branch brought is named, not committed again")
    func otherBranch() throws {
        var (source, target) = (LogState(), LogState())
        commit(&source, 1)
        commit(&source, 2)
        source.add(.branch(BranchChange(dataset: dataset(), name: ref("x"), target: 2)))
        commit(&source, 3, on: ref("x"))
        try carryOut(plan(source, ref("x")), &target)
        #expect(target.commits.count == 3)
        try carryOut(plan(source), &target)
        #expect(target.commits.count == 3)
        #expect(history(target) == [snapshot(1), snapshot(2)])
        // main catches up with x: a fast-forward by a reset.
        commit(&source, 3, time: 1_000_000)
        source.add(.reset(Reset(dataset: dataset(), branch: .main, target: 4, previous: source.sequence)))
        try carryOut(plan(source), &target)
        #expect(target.commits.count == 3)
        #expect(history(target) == [snapshot(1), snapshot(2), snapshot(3)])
    }

    @Test("a branch cannot take a tag's name in the target")
    func tagInTheWay() throws {
        var (source, target) = (LogState(), LogState())
        commit(&source, 1, on: ref("v1"))
        commit(&target, 7)
        target.add(.tag(TagChange(dataset: dataset(), name: ref("v1"), target: 1)))
        guard case .record(let proposal) = try plan(source, ref("v1")).step(in: target) else {
            Issue.record("no record")
            return
        }
        #expect(throws: LogConflict.tagExists(dataset(), ref("v1"))) { try target.check(proposal.change) }
    }

    @Test("tags are made once, and never moved")
    func tags() throws {
        var (source, target) = (LogState(), LogState())
        for id in 1...2 as ClosedRange<UInt8> { commit(&source, id) }
        let head = try #require(source.head(of: .main, in: dataset()))
        let tag = MovedTag(name: ref("v2"), commit: .init(head))
        #expect(tag.step(in: target, dataset: dataset()) == .absent)
        try carryOut(plan(source), &target)
        guard case .record(let change) = tag.step(in: target, dataset: dataset()) else {
            Issue.record("no record")
            return
        }
        target.add(.tag(change))
        #expect(tag.step(in: target, dataset: dataset()) == .done)
        commit(&target, 3)
        let other = MovedTag(
            name: ref("v2"), commit: .init(try #require(target.head(of: .main, in: dataset()))))
        #expect(other.step(in: target, dataset: dataset()) == .taken)
        #expect(MovedTag(name: .main, commit: .init(head)).step(in: target, dataset: dataset()) == .taken)
    }

    /// Random logs on both sides. Of any plan: it ends; its end has the wanted snapshot in the branch's history; what
    /// the branch had before is still in it; a second run writes nothing.
    @Test("keeps its promises on random logs", arguments: 1...40 as ClosedRange<UInt64>)
    func random(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        var states = [LogState(), LogState()]
        let branches: [RefName] = [.main, ref("x"), ref("y")]
        var moves = 0
        for step in 0..<120 {
            let here = Int.random(in: 0..<2, using: &random)
            let branch = try #require(branches.randomElement(using: &random))
            switch Int.random(in: 0..<6, using: &random) {
            case 0, 1:
                commit(
                    &states[here], UInt8.random(in: 1...20, using: &random), on: branch,
                    time: 5_000 + Int64(step))
            case 2:
                let target = UInt64.random(in: 0...(states[here].sequence + 1), using: &random)
                states[here].add(.branch(BranchChange(dataset: dataset(), name: branch, target: target)))
            case 3 where Int.random(in: 0..<3, using: &random) == 0:
                let target = UInt64.random(in: 0...(states[here].sequence + 1), using: &random)
                let head = states[here].head(of: branch, in: dataset())?.sequence ?? 0
                states[here].add(
                    .reset(Reset(dataset: dataset(), branch: branch, target: target, previous: head)))
            default:
                guard states[here].head(of: branch, in: dataset()) != nil else { continue }
                let depth = Bool.random(using: &random) ? nil : Int.random(in: 1...3, using: &random)
                let plan = try plan(states[here], branch, depth: depth)
                let before = states[1 - here]
                let promised = plan.missing(in: before).map(\.snapshot)
                let end = try carryOut(plan, &states[1 - here])
                let after = states[1 - here]
                let (old, new) = (history(before, branch), history(after, branch))
                guard case .done = end else {
                    #expect(isDiverged(end))
                    #expect(before == after)
                    continue
                }
                moves += 1
                #expect(new.contains(try #require(plan.commits.last?.snapshot)), "seed \(seed) step \(step)")
                if let head = old.last { #expect(new.contains(head), "seed \(seed) step \(step)") }
                let fresh = after.commits.keys.filter { before.commits[$0] == nil }
                #expect(fresh.sorted().compactMap { after.commits[$0]?.commit.snapshot } == promised)
                #expect(isDone(plan.step(in: after)) || after == before)
            }
        }
        #expect(moves > 0)
    }
}

@Suite("Windows of a pack's copy")
struct CopyWindowsTests {
    @Test("cover every byte once and every frame whole", arguments: 1...30 as ClosedRange<UInt64>)
    func cover(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        var frames: [Range<UInt64>] = []
        var end: UInt64 = 32
        for _ in 0..<Int.random(in: 1...200, using: &random) {
            if Int.random(in: 0..<12, using: &random) == 0 { end += random.next() % (20 << 20) }
            let length = 24 + random.next() % (random.next() % 3 == 0 ? 4 << 20 : 4 << 10)
            frames.append(end..<(end + length))
            end += length
        }
        end += random.next() % 3 == 0 ? random.next() % (30 << 20) : 0
        let all = frames
        var position: UInt64 = 0
        var next = 0
        for window in CopyWindows(
            frameCount: all.count, end: end, frame: { all[$0] }, baseBytes: { $0 % 5 << 20 })
        {
            #expect(window.bytes.lowerBound == position)
            #expect(window.frames.lowerBound == next)
            #expect(!window.bytes.isEmpty)
            #expect(window.bytes.count <= 13 << 20)
            for frame in window.frames {
                #expect(
                    window.bytes.lowerBound <= all[frame].lowerBound
                        && all[frame].upperBound <= window.bytes.upperBound)
            }
            #expect(window.frames.dropFirst().reduce(0) { $0 + ($1 % 5 << 20) } <= 8 << 20)
            position = window.bytes.upperBound
            next = window.frames.upperBound
        }
        #expect(position == end)
        #expect(next == all.count)
    }
}
