import Glibc
import Synchronization
import System

/// What a long-running piece of work says about itself when it is asked.
package struct ProgressState: Sendable {
    package var label: String
    package var done: UInt64
    package var total: UInt64?
    package var note: String

    package init(label: String, done: UInt64, total: UInt64?, note: String = "") {
        self.label = label
        self.done = done
        self.total = total
        self.note = note
    }
}

/// Draws progress on stderr while some work runs, when stderr is a terminal; elsewhere it draws nothing and
/// costs nothing. It asks the work for its state, so that the work never waits for a terminal.
package final class ProgressBar: Sendable {
    private enum Phase { case running, stopping, stopped }
    private let phase: Monitor<Phase>

    /// Short enough to look alive, long enough to read.
    private static let intervalMicroseconds: UInt32 = 100_000
    /// Work that ends sooner shows no bar at all.
    private static let patienceMicroseconds: UInt32 = 300_000

    private init(_ state: @escaping @Sendable () -> ProgressState) throws(Errno) {
        let phase = Monitor(Phase.running)
        self.phase = phase
        let thread = try Thread(name: "kaml-progress") {
            Self.draw(state, until: { phase.withLock { $0 != .running } })
            phase.withLock { $0 = .stopped }
            phase.wake()
        }
        thread.detach()
    }

    /// Runs `work` with a bar. `isWanted` is false for `--quiet`.
    package static func during<Result>(
        isWanted: Bool = true, _ state: @escaping @Sendable () -> ProgressState, _ work: () throws -> Result
    ) throws -> Result {
        guard isWanted, StandardError.isTerminal, let bar = try? ProgressBar(state) else { return try work() }
        Interruption.endLineOnInterrupt()
        defer { bar.stop() }
        return try work()
    }

    private func stop() {
        phase.withLock { if $0 == .running { $0 = .stopping } }
        phase.wait { $0 == .stopped ? () : nil }
    }

    private static func draw(_ state: () -> ProgressState, until isOver: () -> Bool) {
        let clock = HostClock()
        var meter = ProgressMeter()
        var label = ""
        var isDrawn = false
        var waited: UInt32 = 0
        while !isOver() {
            let now = state()
            // A new phase counts from its own start.
            if now.label != label {
                meter = ProgressMeter()
                label = now.label
            }
            meter.add(.init(seconds: Double(clock.monotonicNanoseconds()) / 1e9, done: now.done))
            if waited >= patienceMicroseconds {
                let line = ProgressLine.render(
                    label: now.label, meter: meter, total: now.total, note: now.note,
                    columns: StandardError.columns)
                StandardError.write("\r" + line + "\u{1B}[K")
                isDrawn = true
            }
            usleep(intervalMicroseconds)
            waited = min(waited + intervalMicroseconds, patienceMicroseconds)
        }
        if isDrawn { StandardError.write("\r\u{1B}[K") }
    }
}

/// Ctrl-C while a bar is drawn.
enum Interruption {
    /// Leaves the bar's line before the process ends by the signal, so that the shell's prompt gets its own.
    static func endLineOnInterrupt() {
        signal(SIGINT) { number in
            var newline = UInt8(ascii: "\n")
            unsafe write(STDERR_FILENO, &newline, 1)
            signal(number, SIG_DFL)
            raise(number)
        }
    }
}
