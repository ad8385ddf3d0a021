import System

/// Blocking work on a few threads at once.
enum Parallel {
    /// Runs `body` on up to `threads` threads, the caller's among them, each until it returns false.
    static func run(threads: Int, _ body: @escaping @Sendable () -> Bool) {
        let running = Monitor(0)
        for _ in 1..<max(1, threads) {
            running.withLock { $0 += 1 }
            do throws(Errno) {
                try Thread(name: "kaml-parallel") {
                    while body() {}
                    running.withLock { $0 -= 1 }
                    running.wake()
                }
                .detach()
            } catch {
                // The others do its part.
                running.withLock { $0 -= 1 }
            }
        }
        while body() {}
        running.wait { $0 == 0 ? () : nil }
    }

    static func forEach<Element: Sendable>(
        _ elements: [Element], threads: Int, _ body: @escaping @Sendable (Element) -> Void
    ) {
        let rest = Monitor(elements[...])
        run(threads: min(threads, elements.count)) {
            guard let next = rest.withLock({ $0.popFirst() }) else { return false }
            body(next)
            return true
        }
    }
}
