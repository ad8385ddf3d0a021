import Glibc
import Logging
import System
import Telemetry

/// One JSON object a line, with the field names of the Elastic Common Schema (ECS logging).
struct JSONLines {
    private let service: ServiceIdentity
    private let process = getpid()

    init(_ service: ServiceIdentity) { self.service = service }

    func line(_ record: LogRecord) -> [UInt8] {
        var object = JSONObject()
        // The first three are to come in this order.
        object.add("@timestamp", TimeText.utc(record.time))
        object.add("log.level", record.level.rawValue)
        object.add("message", record.message)
        object.add("ecs.version", "8.11.0")
        object.add("service.name", service.name)
        object.add("service.version", service.version)
        object.add("host.name", service.host)
        if let node = service.node { object.add("service.node.name", node) }
        object.add("event.dataset", "\(service.name).log")
        object.add("process.pid", Int(process))
        object.add("log.logger", record.logger)
        if let span = record.span {
            object.add("trace.id", "\(span.traceID)")
            object.add("span.id", "\(span.spanID)")
        }
        if let error = record.error {
            object.add("error.type", error.type)
            object.add("error.message", error.message)
        }
        if record.repeated > 0 { object.add("kaml.repeated", record.repeated) }
        for label in record.labels {
            // Dots would make objects of labels.
            object.add("labels.\(String(label.key.map { $0 == "." ? "_" : $0 }))", label.value)
        }
        return object.finished()
    }
}

/// For people at a terminal.
struct HumanLines {
    func line(_ record: LogRecord) -> [UInt8] {
        var line = "\(TimeText.utc(record.time)) \(Self.name(record.level)) \(record.logger): \(record.message)"
        if let error = record.error { line += ": \(error.message)" }
        for label in record.labels { line += " \(label.key)=\(label.value)" }
        if let span = record.span { line += " trace=\(span.traceID)" }
        if record.repeated > 0 { line += " (repeated \(record.repeated) times before)" }
        return Self.printable(line) + [10]
    }

    private static func name(_ level: Logger.Level) -> String {
        switch level {
        case .trace: "TRACE "
        case .debug: "DEBUG "
        case .info: "INFO  "
        case .notice: "NOTICE"
        case .warning: "WARN  "
        case .error: "ERROR "
        case .critical: "CRIT  "
        }
    }

    /// Control characters would speak to the terminal.
    private static func printable(_ text: String) -> [UInt8] {
        var bytes: [UInt8] = []
        for scalar in text.unicodeScalars {
            if scalar.properties.generalCategory == .control {
                bytes += Array("\\u{\(String(scalar.value, radix: 16))}".utf8)
            } else {
                bytes += Array(String(scalar).utf8)
            }
        }
        return bytes
    }
}

enum TimeText {
    /// `2026-11-23T09:30:00.123Z`; as the first moment of 1970 where the clock says nonsense.
    static func utc(_ time: Timestamp) -> String {
        let day: Int64 = 86_400
        guard (0..<253_402_300_800).contains(time.seconds) else { return "1970-01-01T00:00:00.000Z" }
        let (year, month, date) = civil(Int(time.seconds / day))
        let second = Int(time.seconds % day)
        func padded(_ number: Int, _ width: Int = 2) -> String {
            let digits = "\(number)"
            return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
        }
        return "\(padded(year, 4))-\(padded(month))-\(padded(date))T"
            + "\(padded(second / 3600)):\(padded(second / 60 % 60)):\(padded(second % 60))"
            + ".\(padded(Int(time.nanoseconds / 1_000_000), 3))Z"
    }

    /// Year, month and day of a day since 1970, by eras of 400 years that begin in March.
    private static func civil(_ day: Int) -> (year: Int, month: Int, day: Int) {
        let shifted = day + 719_468
        let (era, rest) = (shifted / 146_097, shifted % 146_097)
        let year = (rest - rest / 1460 + rest / 36_524 - rest / 146_096) / 365
        let dayOfYear = rest - (365 * year + year / 4 - year / 100)
        let month = (5 * dayOfYear + 2) / 153
        let isNextYear = month >= 10
        return (
            era * 400 + year + (isNextYear ? 1 : 0), isNextYear ? month - 9 : month + 3,
            dayOfYear - (153 * month + 2) / 5 + 1
        )
    }
}

/// Writes one flat JSON object.
struct JSONObject {
    private var bytes = Array("{".utf8)

    mutating func add(_ key: String, _ value: String) {
        begin(key)
        quote(value)
    }

    mutating func add(_ key: String, _ value: Int) {
        begin(key)
        bytes += Array("\(value)".utf8)
    }

    /// The object as a line.
    consuming func finished() -> [UInt8] { bytes + [UInt8(ascii: "}"), 10] }

    private mutating func begin(_ key: String) {
        if bytes.count > 1 { bytes.append(UInt8(ascii: ",")) }
        quote(key)
        bytes.append(UInt8(ascii: ":"))
    }

    private static let hexadecimal = Array("0123456789abcdef".utf8)

    private mutating func quote(_ text: String) {
        bytes.append(UInt8(ascii: "\""))
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): bytes += [UInt8(ascii: "\\"), byte]
            case 10: bytes += Array("\\n".utf8)
            case 0..<0x20, 0x7F:
                bytes += Array("\\u00".utf8)
                bytes += [Self.hexadecimal[Int(byte >> 4)], Self.hexadecimal[Int(byte & 15)]]
            default: bytes.append(byte)
            }
        }
        bytes.append(UInt8(ascii: "\""))
    }
}
