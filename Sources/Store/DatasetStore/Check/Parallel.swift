import Synchronization
import System

/// The same work on several threads.
enum Parallel {
    /// Runs `body` on `threads` threads and waits for all. Where no thread can be started, it runs here.
    static func run(threads: Int, name: String, _ body: @escaping @Sendable () -> Void) {
        var started: [Handle] = []
        for _ in 1..<max(1, threads) {
            guard let thread = try? Thread(name: name, body) else { break }
            started.append(Handle(thread))
        }
        body()
        for handle in started { handle.join() }
    }

    /// A thread in an array, which cannot hold move-only values.
    private final class Handle: Sendable {
        private let thread: Mutex<Thread?>
        init(_ thread: consuming Thread) { self.thread = Mutex(thread) }
        func join() {
            let thread = thread.withLock { $0.take() }
            if let thread { thread.join() }
        }
    }
}
