import Synchronization
import System

/// Threads that do the same work side by side.
package final class WorkerThreads: Sendable {
    private let started: Mutex<[Handle]>
    private let body: @Sendable () -> Void

    /// Starts `count` threads at once.
    package init(_ count: Int, _ name: String, _ body: @escaping @Sendable () -> Void) {
        self.body = body
        var handles: [Handle] = []
        for _ in 0..<max(1, count) {
            guard let thread = try? Thread(name: name, body) else { break }
            handles.append(Handle(thread))
        }
        started = Mutex(handles)
    }

    /// Waits for all of them. Where no thread could be started, the work is done here.
    package func join() {
        let handles = started.withLock { handles in
            defer { handles = [] }
            return handles
        }
        if handles.isEmpty { body() }
        for handle in handles { handle.join() }
    }

    /// A thread in an array, which cannot hold move-only values.
    private final class Handle: Sendable {
        private let thread: Mutex<Thread?>
        init(_ thread: consuming Thread) { self.thread = Mutex(thread) }
        func join() {
            if let thread = thread.withLock({ $0.take() }) { thread.join() }
        }
    }
}
