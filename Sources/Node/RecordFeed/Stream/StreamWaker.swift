import Synchronization
import System

/// Wakes a stream's thread when a batch's last read came in, or an order: a system call only while it sleeps. Lives as
/// long as anybody may tell it something, which is longer than its stream.
final class StreamWaker: Sendable {
    let event: Event
    private let news = Atomic(false)
    private let isSleeping = Atomic(false)

    init() throws(Errno) { event = try Event() }

    // From any thread.

    func newsCame() {
        news.store(true, ordering: .releasing)
        SharedWords.fence()
        if isSleeping.load(ordering: .relaxed) { event.signal() }
    }

    // From the stream's thread. `sleeps(true)` is to be followed by a fence, and that by a look at `hasNews`.

    func sleeps(_ sleeps: Bool) { isSleeping.store(sleeps, ordering: .relaxed) }

    var hasNews: Bool { news.load(ordering: .acquiring) }

    func takeNews() -> Bool { news.exchange(false, ordering: .acquiringAndReleasing) }
}
