import Glibc
package import Logging
import Synchronization
package import System
package import Telemetry

/// Where lines go, and in which form.
package enum LogDestination: Hashable, Sendable {
    /// JSON to this descriptor, which stays the caller's.
    case json(Int32)
    /// For people, to this descriptor.
    case human(Int32)
    /// To journald, at its socket.
    case journal(path: String)

    /// What suits the process's standard error: the journal under systemd, words on a terminal, else JSON.
    package static func standard(
        environment: (String) -> String? = ServiceIdentity.environment
    ) -> LogDestination {
        if Journal.isConnected(2, environment("JOURNAL_STREAM")) { return .journal(path: Journal.standardPath) }
        return isatty(2) == 1 ? .human(2) : .json(2)
    }
}

/// Takes what is logged from any thread and writes it on its own: a pipe that nobody reads may block that one, and no
/// reader of a mount. What does not fit in between is dropped and counted.
package final class LogPipeline: Sendable {
    /// Lines that wait.
    static let limit = 4096
    static let pause: UInt64 = 1_000_000_000

    private struct State {
        var waiting: [LogRecord] = []
        var repeats = RepeatLimit()
        /// Taken and not yet written.
        var writing = 0
        var isStopping = false
        var hasEnded = false
    }

    private let writer: LogWriter
    private let clock: any Clock
    private let state = Monitor(State())
    private let parker = Parker()
    private let levelIndex: Atomic<Int>
    private let messages: Counter<LogLevelLabel>
    private let drops: Counter<LogDropLabel>

    /// Starts the writing thread. Lines are counted in `registry`.
    package init(
        _ destination: LogDestination, _ service: ServiceIdentity, level: Logger.Level = .info,
        registry: MetricsRegistry = .process, clock: any Clock = HostClock()
    ) throws(Errno) {
        writer = LogWriter(destination, service)
        self.clock = clock
        levelIndex = Atomic(Self.index(level))
        messages = registry.counter(MetricCatalogue.logMessages)
        drops = registry.counter(MetricCatalogue.logDropped)
        try Thread(name: "kaml-log") { self.run() }.detach()
    }

    /// For `LoggingSystem.bootstrap`.
    package func handler(_ label: String) -> any LogHandler { PipelineLogHandler(label, self) }

    /// The level of loggers that have none of their own; may be changed at any time.
    package var level: Logger.Level {
        get { Logger.Level.allCases[levelIndex.load(ordering: .relaxed)] }
        set { levelIndex.store(Self.index(newValue), ordering: .relaxed) }
    }

    private static func index(_ level: Logger.Level) -> Int {
        Logger.Level.allCases.firstIndex(of: level) ?? 0
    }

    /// Logs without a `Logger`, from synchronous code.
    package func log(
        _ level: Logger.Level, _ logger: String, _ message: String, _ metadata: Logger.Metadata = [:],
        file: String = #fileID, line: UInt = #line
    ) {
        guard level >= self.level else { return }
        take(
            LogRecord(
                time: clock.now(), level: level, logger: logger, message: SecretWords.redacted(message),
                labels: LogRecord.flat(metadata), span: Trace.current?.context, file: file, line: line))
    }

    var now: Timestamp { clock.now() }

    func take(_ record: LogRecord) {
        var record = record
        if record.bound() { drops.add(1, .tooLong) }
        messages.add(1, LogLevelLabel(rawValue: Self.index(record.level)) ?? .critical)
        let now = clock.monotonicNanoseconds()
        let dropped = state.withLock { state -> LogDropLabel? in
            guard let admitted = state.repeats.admit(record, now: now) else { return .repeated }
            guard state.waiting.count < Self.limit else { return .unwritable }
            state.waiting.append(admitted)
            return nil
        }
        if let dropped { drops.add(1, dropped) } else { parker.unpark() }
    }

    /// Waits until everything that was logged is written, a second at most.
    package func flush() {
        for _ in 0..<100 {
            parker.unpark()
            let isDone = state.withLock { $0.waiting.isEmpty && $0.writing == 0 }
            if isDone { return }
            usleep(10_000)
        }
    }

    /// Writes what is left, a second long at most, and ends the thread.
    package func stop() {
        state.withLock { $0.isStopping = true }
        flush()
    }

    private func run() {
        while true {
            parker.park(nanoseconds: Self.pause)
            let now = clock.monotonicNanoseconds()
            let (records, isStopping) = state.withLock { state in
                let records = state.waiting + state.repeats.ended(now: now)
                state.waiting = []
                state.writing = records.count
                return (records, state.isStopping)
            }
            for record in records { if !writer.write(record) { drops.add(1, .unwritable) } }
            state.withLock { $0.writing = 0 }
            if isStopping, records.isEmpty { return }
        }
    }
}

/// Writes records one by one, for one thread.
private struct LogWriter {
    private enum Form {
        case json(Int32, JSONLines)
        case human(Int32, HumanLines)
        case journal(Journal)
    }
    private let form: Form

    init(_ destination: LogDestination, _ service: ServiceIdentity) {
        switch destination {
        case .json(let descriptor): form = .json(descriptor, JSONLines(service))
        case .human(let descriptor): form = .human(descriptor, HumanLines())
        case .journal(let path):
            form = Journal(path: path, service).map { .journal($0) } ?? .json(2, JSONLines(service))
        }
    }

    /// Whether all of it was written.
    func write(_ record: LogRecord) -> Bool {
        switch form {
        case .json(let descriptor, let lines): return Self.write(lines.line(record), to: descriptor)
        case .human(let descriptor, let lines): return Self.write(lines.line(record), to: descriptor)
        case .journal(let journal):
            do throws(Errno) {
                try journal.send(journal.entry(record))
                return true
            } catch { return false }
        }
    }

    private static func write(_ line: [UInt8], to descriptor: Int32) -> Bool {
        var done = 0
        while done < line.count {
            let count = unsafe line[done...].withUnsafeBytes { unsafe Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EAGAIN {
                // Somebody shares the descriptor and made it non-blocking.
                var wait = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                _ = unsafe poll(&wait, 1, 1000)
                continue
            }
            if count < 0, errno != EINTR { return false }
            done += max(count, 0)
        }
        return true
    }
}
