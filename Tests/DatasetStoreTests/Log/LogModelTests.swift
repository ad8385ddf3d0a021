import Chunking
import DatasetStore
import KamlTestSupport
import Testing

/// Random changes, good and bad, against a model that keeps no state: it finds every answer by looking through
/// the whole history of accepted changes.
@Suite("The state of a log against a model")
struct LogModelTests {
    @Test("agrees on what is accepted and on every name", arguments: [1, 2, 3, 4, 5, 6, 7, 8] as [UInt64])
    func model(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        var state = LogState()
        var model = Model()
        var accepted = 0
        for step: UInt64 in 1...600 {
            let change = Self.change(state, step, &random)
            let isAccepted = (try? state.check(change)) != nil
            try #require(isAccepted == model.accepts(change), "seed \(seed), record \(step): \(change)")
            if isAccepted { accepted += 1 }
            state.add(change)
            if isAccepted { model.history.append((step, change)) }
            for name in Self.datasets {
                for ref in Self.refs {
                    try #require(state.datasets[name]?.branches[ref] == model.branch(ref, name))
                    try #require(state.datasets[name]?.tags[ref] == model.tag(ref, name))
                }
            }
        }
        #expect(state.sequence == 600)
        #expect(state.voidRecords.count == 600 - accepted)
        #expect((100..<500).contains(accepted), "the changes are a fair mix: \(accepted)")
    }

    private static let datasets = [dataset("a"), dataset("b")]
    private static let refs = [ref("main"), ref("x"), ref("y")]

    /// Mostly sensible, often slightly wrong.
    private static func change(_ state: LogState, _ step: UInt64, _ random: inout SplitMix64) -> LogChange {
        let name = datasets.randomElement(using: &random) ?? dataset()
        let ref = refs.randomElement(using: &random) ?? .main
        let names = state.datasets[name]
        let head = (names?.branches[ref] ?? 0) &+ (UInt64.random(in: 0..<6, using: &random) == 0 ? 1 : 0)
        let anywhere = UInt64.random(in: 0...step, using: &random)
        switch Int.random(in: 0..<8, using: &random) {
        case 0...2:
            let parent = state.commits[Int.random(in: 0..<4, using: &random) == 0 ? anywhere : head]
            let isFirst = parent == nil || Int.random(in: 0..<8, using: &random) == 0
            return .commit(
                Commit(
                    dataset: name, branch: ref, snapshot: snapshot(UInt8(truncatingIfNeeded: step)),
                    parent: isFirst
                        ? nil
                        : parent.map { Commit.Parent(sequence: $0.sequence, snapshot: $0.commit.snapshot) }))
        case 3: return .branch(BranchChange(dataset: name, name: ref, target: anywhere))
        case 4: return .branch(BranchChange(dataset: name, name: ref, target: head, isDeletion: true))
        case 5: return .tag(TagChange(dataset: name, name: ref, target: anywhere))
        case 6:
            return .tag(
                TagChange(dataset: name, name: ref, target: names?.tags[ref] ?? head, isDeletion: true))
        default: return .reset(Reset(dataset: name, branch: ref, target: anywhere, previous: head))
        }
    }

    private struct Model {
        var history: [(sequence: UInt64, change: LogChange)] = []

        /// Where the last change that touched the branch left it.
        func branch(_ ref: RefName, _ name: DatasetName) -> UInt64? {
            for (sequence, change) in history.reversed() where change.dataset == name {
                switch change {
                case .commit(let commit) where commit.branch == ref: return sequence
                case .branch(let change) where change.name == ref:
                    return change.isDeletion ? nil : change.target
                case .reset(let reset) where reset.branch == ref: return reset.target
                default: continue
                }
            }
            return nil
        }

        func tag(_ ref: RefName, _ name: DatasetName) -> UInt64? {
            for (_, change) in history.reversed() where change.dataset == name {
                if case .tag(let change) = change, change.name == ref {
                    return change.isDeletion ? nil : change.target
                }
            }
            return nil
        }

        func commit(_ sequence: UInt64, _ name: DatasetName) -> Commit? {
            for (number, change) in history where number == sequence && change.dataset == name {
                if case .commit(let commit) = change { return commit }
            }
            return nil
        }

        func accepts(_ change: LogChange) -> Bool {
            let name = change.dataset
            switch change {
            case .commit(let commit):
                let head = branch(commit.branch, name)
                return tag(commit.branch, name) == nil && commit.parent?.sequence == head
                    && commit.parent?.snapshot == head.flatMap { self.commit($0, name)?.snapshot }
            case .branch(let change):
                if change.isDeletion { return branch(change.name, name) == change.target }
                return isFree(change.name, name) && commit(change.target, name) != nil
            case .tag(let change):
                if change.isDeletion { return tag(change.name, name) == change.target }
                return isFree(change.name, name) && commit(change.target, name) != nil
            case .reset(let reset):
                return branch(reset.branch, name) == reset.previous && commit(reset.target, name) != nil
            }
        }

        private func isFree(_ ref: RefName, _ name: DatasetName) -> Bool {
            branch(ref, name) == nil && tag(ref, name) == nil
        }
    }
}
