import FoundationEssentials
import Glibc
import KamlTestSupport
import Logging
import Synchronization
import System
import Telemetry
import Testing

@testable import Observability

/// The fields of a JSON object whose values are text or whole numbers.
struct Fields: Decodable {
    var values: [String: String] = [:]

    struct Key: CodingKey {
        var stringValue: String
        var intValue: Int? { nil }
        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Key.self)
        for key in container.allKeys {
            values[key.stringValue] =
                try (try? container.decode(String.self, forKey: key))
                ?? "\(container.decode(Int.self, forKey: key))"
        }
    }

    subscript(_ key: String) -> String? { values[key] }
}

func lines(_ text: String) throws -> [Fields] {
    try text.split(separator: "\n").map {
        try JSONDecoder().decode(Fields.self, from: Data($0.utf8))
    }
}

struct LogTests {
    let registry = MetricsRegistry()
    let clock = HandClock()

    /// What is written of what `body` logs.
    func logged(
        _ destination: (Int32) -> LogDestination = { .json($0) }, level: Logger.Level = .info,
        _ body: (Logger, LogPipeline) throws -> Void
    ) throws -> String {
        let pipe = try ReadPipe()
        let pipeline = try LogPipeline(
            destination(pipe.writing), identity, level: level, registry: registry, clock: clock)
        try body(Logger(label: "kaml.test") { _ in pipeline.handler("kaml.test") }, pipeline)
        pipeline.stop()
        return pipe.finish()
    }

    @Test func aLineHasTheNamesOfTheElasticCommonSchema() throws {
        let text = try logged { logger, _ in
            logger.warning("the store is away", metadata: ["dataset": "imagenet", "retry.after": "5"])
        }
        #expect(
            text.hasPrefix(
                "{\"@timestamp\":\"2023-11-14T22:13:20.000Z\",\"log.level\":\"warning\",\"message\":"))
        let line = try #require(try lines(text).first)
        #expect(line["message"] == "the store is away")
        #expect(line["ecs.version"] != nil)
        #expect(line["service.name"] == "kamld" && line["service.version"] == "0.4.0")
        #expect(line["service.node.name"] == "node-1" && line["host.name"] == "host-1")
        #expect(line["log.logger"] == "kaml.test")
        #expect(line["labels.dataset"] == "imagenet" && line["labels.retry_after"] == "5")
        #expect(line["process.pid"] == "\(getpid())")
        #expect(line["trace.id"] == nil)
    }

    @Test func anErrorHasFieldsOfItsOwn() throws {
        let text = try logged { logger, _ in logger.error("cannot read", error: Errno.inputOutput) }
        let line = try #require(try lines(text).first)
        #expect(line["error.type"] == "Errno" && line["error.message"] == "\(Errno.inputOutput)")
    }

    @Test func anyTextStaysOneLineAndComesBack() throws {
        let seed = SeededRandom.explorationSeed()
        var random = SplitMix64(seed: seed)
        var texts = [
            "\n\r\t\u{0}\u{1b}[31m", "\"\\\"", "\u{2028}日本語\u{1F600}", "{\"log.level\":\"x\"}\n{", "\u{7f}",
        ]
        for _ in 0..<100 {
            let scalars = (0..<20).compactMap { _ in
                Unicode.Scalar(UInt32.random(in: 0...0x2FFF, using: &random))
            }
            texts.append(String(String.UnicodeScalarView(scalars)))
        }
        let written = try logged { logger, _ in
            for text in texts { logger.info("\(text)", metadata: ["a": "\(text)"]) }
        }
        let read = try lines(written)
        #expect(read.count == texts.count, "seed \(seed)")
        for (line, text) in zip(read, texts) {
            #expect(line["message"].map { Array($0.utf8) } == Array(text.utf8), "seed \(seed)")
            #expect(line["labels.a"].map { Array($0.utf8) } == Array(text.utf8), "seed \(seed)")
        }
    }

    @Test func aTerminalSeesNoControlCharacters() throws {
        let text = try logged({ .human($0) }) { logger, _ in
            logger.info("a\u{1b}[2Jb\nc", metadata: ["dataset": "x\u{07}"])
        }
        #expect(
            text == "2023-11-14T22:13:20.000Z INFO   kaml.test: a\\u{1b}[2Jb\\u{a}c dataset=x\\u{7}\n")
    }

    @Test func theTraceOfTheThreadIsNamed() throws {
        let recorder = SpanRecorder(Sampler(ratio: 1))
        let span = recorder.startRoot("read")
        let text = try logged { logger, _ in
            logger.info("before")
            // The task's context, as asynchronous code has it.
            withContext(of: span, recorder) { logger.info("inside") }
        }
        let read = try lines(text)
        #expect(read[0]["trace.id"] == nil)
        #expect(read[1]["trace.id"] == "\(span.context.traceID)")
        #expect(read[1]["span.id"] == "\(span.context.spanID)")
    }

    @Test func repetitionsAreOneLineWithTheirNumber() throws {
        let text = try logged { logger, pipeline in
            for number in 0..<1000 { logger.error("cannot read", metadata: ["path": "/\(number)"]) }
            logger.error("something else")
            pipeline.flush()
            clock.advance(RepeatLimit.window)
            logger.error("cannot read", metadata: ["path": "/last"])
        }
        let read = try lines(text)
        let repeated = read.filter { $0["message"] == "cannot read" }
        // The number comes with the next of its kind, or in a line of its own, whichever is first.
        #expect(repeated.count <= RepeatLimit.burst + 2)
        let leftOut = repeated.compactMap { $0["kaml.repeated"].flatMap { Int($0) } }
        #expect(repeated.count + leftOut.reduce(0, +) == 1001)
        #expect(read.contains { $0["message"] == "something else" })
        let counted = String(decoding: registry.exposition(.prometheusText), as: UTF8.self)
        #expect(counted.contains("kaml_log_messages_total{level=\"error\"} 1002\n"))
        #expect(counted.contains("kaml_log_dropped_total{reason=\"repeated\"} 995\n"))
    }

    @Test func repetitionsThatEndedAreToldAllTheSame() {
        var limit = RepeatLimit()
        let record = LogRecord(
            time: clock.now(), level: .error, logger: "l", message: "m", labels: [], file: "f", line: 1)
        for _ in 0..<20 { _ = limit.admit(record, now: 0) }
        #expect(limit.ended(now: RepeatLimit.window - 1).isEmpty)
        #expect(limit.ended(now: RepeatLimit.window).map(\.repeated) == [14])
        #expect(limit.ended(now: .max).isEmpty)
    }

    @Test func manyDifferentMessagesAreNotRemembered() {
        var limit = RepeatLimit()
        for number in 0..<10_000 {
            let record = LogRecord(
                time: clock.now(), level: .error, logger: "l", message: "\(number)", labels: [], file: "f",
                line: 1)
            #expect(limit.admit(record, now: 0) != nil)
        }
    }

    @Test(arguments: [
        "password", "aws_secret_access_key", "S3.SecretKey", "Authorization", "x-api-key", "session-token",
        "set-cookie", "credentials", "privateKey", "AccessKeyID",
    ])
    func valuesUnderSecretNamesAreHidden(key: String) throws {
        let text = try logged { logger, _ in
            logger.info("m", metadata: [key: "canary", "nested": ["inner": [key: "canary"]]])
        }
        #expect(!text.contains("canary") && text.contains("<redacted>"))
    }

    @Test(arguments: [
        ("GET https://user:canary@host/path", "GET https://<redacted>@host/path"),
        ("http://u:can,ary)@b", "http://<redacted>@b"),
        ("two http://a:canary@b and http://c:canary@d", "two http://<redacted>@b and http://<redacted>@d"),
        (
            "https://b/k?X-Amz-Credential=canary&X-Amz-Signature=canary&x=1",
            "https://b/k?X-Amz-Credential=<redacted>&X-Amz-Signature=<redacted>&x=1"
        ),
        ("Authorization: AWS4-HMAC canary, canary\nnext", "Authorization: <redacted>\nnext"),
        ("bearer canary.canary.canary", "bearer <redacted>"),
        ("s3://bucket/a@b and mail@host: fine", "s3://bucket/a@b and mail@host: fine"),
        ("", ""), ("://", "://"), ("signature=", "signature="),
    ])
    func secretsInTextsAreHidden(text: String, wanted: String) {
        #expect(SecretWords.redacted(text) == wanted)
    }

    @Test func aPipeThatNobodyReadsStopsNobody() throws {
        var ends: [Int32] = [-1, -1]
        #expect(pipe(&ends) == 0)
        let pipeline = try LogPipeline(.json(ends[1]), identity, registry: registry)
        let logger = Logger(label: "l") { _ in pipeline.handler("l") }
        let start = HostClock().monotonicNanoseconds()
        for number in 0..<20_000 { logger.info("line \(number)") }
        #expect(HostClock().monotonicNanoseconds() - start < 5_000_000_000)
        let text = String(decoding: registry.exposition(.prometheusText), as: UTF8.self)
        let lost = text.split(separator: "\n").first {
            $0.hasPrefix("kaml_log_dropped_total{reason=\"unwritable\"}")
        }
        #expect(lost.flatMap { $0.split(separator: " ").last }.flatMap { Int($0) } ?? 0 > 1000)
        // Frees the writing thread, which is in the middle of a line.
        signal(SIGPIPE, SIG_IGN)
        close(ends[0])
        pipeline.stop()
    }

    @Test func aLongMessageIsCut() throws {
        let text = try logged { logger, _ in logger.info("\(String(repeating: "é", count: 1 << 20))") }
        #expect(text.utf8.count < 2 * LogRecord.longestText)
        #expect(try lines(text).first?["message"]?.hasSuffix("…") == true)
    }

    @Test func theLevelMayChangeAtAnyTimeUnlessALoggerHasItsOwn() throws {
        let text = try logged { logger, pipeline in
            var own = logger
            own.logLevel = .error
            logger.debug("1")
            pipeline.level = .debug
            logger.debug("2")
            own.info("3")
            own.error("4")
            pipeline.log(.debug, "direct", "5", ["secret": "canary"])
            pipeline.level = .critical
            pipeline.log(.error, "direct", "6")
        }
        #expect(try lines(text).map { $0["message"] } == ["2", "4", "5"])
        #expect(!text.contains("canary"))
    }

    @Test(arguments: [
        (0, "1970-01-01T00:00:00.000Z"), (951_782_400, "2000-02-29T00:00:00.000Z"),
        (1_709_251_199, "2024-02-29T23:59:59.000Z"), (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        (253_402_300_799, "9999-12-31T23:59:59.000Z"), (253_402_300_800, "1970-01-01T00:00:00.000Z"),
        (-1, "1970-01-01T00:00:00.000Z"),
    ])
    func timesAreWrittenInUTC(seconds: Int, wanted: String) {
        #expect(TimeText.utc(Timestamp(seconds: Int64(seconds), nanoseconds: 999_999)) == wanted)
    }
}

/// A socket as journald has it.
struct JournalTests {
    let directory: TemporaryDirectory
    let path: String
    let socket: Int32

    init() throws {
        directory = try TemporaryDirectory()
        path = "\(directory.path)/socket"
        socket = Glibc.socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { [path] in $0.copyBytes(from: path.utf8) }
        let length = socklen_t(MemoryLayout<sockaddr_un>.size)
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { [socket] in bind(socket, $0, length) }
        }
        guard bound == 0 else { throw Errno.last }
    }

    func record(_ message: String, _ labels: [(key: String, value: String)] = []) -> LogRecord {
        LogRecord(
            time: Timestamp(seconds: 0, nanoseconds: 0), level: .error, logger: "l", message: message,
            labels: labels, file: "A/B.swift", line: 7)
    }

    func received() throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 1 << 20)
        let count = recv(socket, &bytes, bytes.count, Int32(MSG_DONTWAIT))
        guard count >= 0 else { throw Errno.last }
        return Array(bytes.prefix(count))
    }

    @Test func anEntryIsADatagramOfFields() throws {
        defer { close(socket) }
        let journal = try #require(Journal(path: path, identity))
        try journal.send(journal.entry(record("hello", [("dataset.name", "x"), ("_PID", "1")])))
        let text = String(decoding: try received(), as: UTF8.self)
        #expect(
            text == """
                MESSAGE=hello
                PRIORITY=3
                SYSLOG_IDENTIFIER=kamld
                CODE_FILE=A/B.swift
                CODE_LINE=7
                LOGGER=l
                KAML_DATASET_NAME=x
                KAML__PID=1

                """)
    }

    @Test func aTextOfSeveralLinesCannotMakeFields() throws {
        defer { close(socket) }
        let journal = try #require(Journal(path: path, identity))
        try journal.send(journal.entry(record("a\nPRIORITY=0")))
        let bytes = try received()
        let wanted = Array("MESSAGE\n".utf8) + [12, 0, 0, 0, 0, 0, 0, 0] + Array("a\nPRIORITY=0\n".utf8)
        #expect(Array(bytes.prefix(wanted.count)) == wanted)
    }

    @Test func whatDoesNotFitADatagramGoesAsASealedFile() throws {
        defer { close(socket) }
        let journal = try #require(Journal(path: path, identity))
        let entry = [UInt8](repeating: UInt8(ascii: "x"), count: 4 << 20)
        try journal.send(entry)
        let file = FileDescriptor(owning: try receivedDescriptor(socket))
        #expect(try file.status().size == UInt64(entry.count))
        // F_GET_SEALS: seal, shrink, grow, write.
        #expect(fcntl(file.rawValue, 1034) == 0xF)
    }

    @Test func theJournalIsKnownByItsDeviceAndInode() throws {
        defer { close(socket) }
        var status = stat()
        #expect(fstat(socket, &status) == 0)
        #expect(Journal.isConnected(socket, "\(status.st_dev):\(status.st_ino)"))
        #expect(!Journal.isConnected(socket, "\(status.st_dev):\(status.st_ino + 1)"))
        #expect(!Journal.isConnected(socket, nil))
    }

    @Test func aJournalThatIsGoneCostsLinesAndNothingElse() throws {
        close(socket)
        let journal = try #require(Journal(path: path + "-gone", identity))
        #expect(throws: Errno.self) { try journal.send(journal.entry(record("hello"))) }
    }
}
