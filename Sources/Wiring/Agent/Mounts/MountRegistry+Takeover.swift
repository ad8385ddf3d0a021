import FuseMount
import FuseSession
package import MountHolder
import ObjectStore
import System
import Telemetry

extension MountRegistry {
    /// Goes on with every mount that the holder keeps and that is not served here. Returns how many could not be gone on
    /// with: their users wait, and it is for the caller to try again.
    ///
    /// - Throws: what the holder says; then some mounts may not have been asked about.
    package func takeOver(from holder: HolderClient) throws(HolderError) -> Int {
        let round = Monitor(TakeoverRound())
        Parallel.run(threads: Self.threads) { [self] in
            let found = round.withLock { $0.next(holder) }
            guard let found else { return false }
            if takeOver(found) == .stranded { round.withLock { $0.stranded += 1 } }
            return true
        }
        if let trouble = round.withLock({ $0.trouble }) { throw trouble }
        return round.withLock { $0.stranded }
    }

    private struct TakeoverRound {
        var last: UInt64 = 0
        var isOver = false
        var trouble: HolderError?
        var stranded = 0

        mutating func next(_ holder: HolderClient) -> FoundMount? {
            if isOver { return nil }
            do throws(HolderError) {
                guard let found = try holder.next(after: last) else {
                    isOver = true
                    return nil
                }
                last = found.held.id
                return found
            } catch {
                isOver = true
                trouble = error
                return nil
            }
        }
    }

    private enum TakeoverOutcome { case resumed, known, ended, stranded }

    private func takeOver(_ found: consuming FoundMount) -> TakeoverOutcome {
        let held = found.held
        let description = Result { () throws(MountDescription.Unreadable) in
            try MountDescription(serialized: held.description)
        }
        let kept = (try? description.get()).map { MountLabels(held, $0) } ?? MountLabels(unreadable: held)
        let id = kept.id
        let isMine = state.withLock { state in
            guard state.book.askTakeover(kept.request, id: id, now: parts.clock.now()) else { return false }
            // Of an attempt before this one, whose session told of its end later than of its failure.
            state.endedEarly.remove(id)
            return true
        }
        guard isMine else { return .known }
        let attached = found.takeAttached()
        let control = attached.control
        do {
            let description = try description.get()
            let place = try NamedStore(url: description.store, settings: description.storeSettings)
            let objects = try parts.stores.objects(place)
            let mount = try SnapshotMount(goingOnWith: attached, description, mountParts(objects, id))
            state.withLock { _ = $0.stranded.removeValue(forKey: id) }
            _ = serve(mount, id, isTakenOver: true)
            count(.resumed)
            return .resumed
        } catch FuseSessionError.endedEarly(.unmounted) {
            // Between two agents: nobody is left to wait for it.
            state.withLock { state in
                state.endedEarly.remove(id)
                state.stranded[id] = nil
                state.book.didEnd(id)
            }
            state.wake()
            control.ended()
            return .ended
        } catch {
            strand(id, control, error)
            return .stranded
        }
    }

    private func strand(_ id: String, _ control: any MountControl, _ error: any Error) {
        let (isNews, record) = state.withLock { state in
            state.endedEarly.remove(id)
            state.stranded[id] = control
            return (state.book.didStrand(id, "\(error)"), state.book[id])
        }
        state.wake()
        count(.failed)
        guard isNews, let record else { return }
        parts.events.add(
            "stranded",
            "\(record.name) at \(record.mountPoint) cannot be gone on with, and its users wait: \(error)",
            severity: .error, mount: id)
    }

    private func count(_ outcome: TakeoverOutcomeLabel) {
        parts.registry.counter(MetricCatalogue.agentTakeovers).add(1, outcome)
        guard outcome == .resumed, let age = ProcessAge.nanoseconds else { return }
        parts.registry.histogram(MetricCatalogue.agentTakeoverSeconds).record(age)
    }
}

extension MountLabels {
    /// Of a mount that another agent made, be it one that gave it no id.
    fileprivate init(_ held: HeldMount, _ description: MountDescription) {
        if let labels = MountLabels(description) {
            self = labels
            return
        }
        let request = MountRequest(
            reference: description.name, store: description.store, mountPoint: description.mountPoint)
        self.init(id: Self.substituteID(held), request: request)
    }

    /// Of one whose description this build cannot read.
    fileprivate init(unreadable held: HeldMount) {
        let request = MountRequest(
            reference: String(decoding: held.source.bytes, as: UTF8.self), store: "",
            mountPoint: held.mountPoint)
        self.init(id: Self.substituteID(held), request: request)
    }

    private static func substituteID(_ held: HeldMount) -> String { "device-\(held.device)" }
}
