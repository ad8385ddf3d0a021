import ArgumentParser
import GRPCCore
import KamlCommand
import KamlProtos
import KamlRPC
import System

/// `kaml events`.
struct EventsCommand: AnsweringCommand {
    static let configuration = CommandConfiguration(
        commandName: "events", abstract: "What happened to this node's agent and its mounts.",
        discussion: """
              kaml events
              kaml events --follow
              kaml events --follow -o json      one object a line
            """)

    @Flag(name: .shortAndLong, help: "Go on with what happens from now on.")
    var follow = false
    @OptionGroup var agent: AgentOptions
    @OptionGroup var output: OutputOptions

    func run() throws {
        var request = Kaml_Agent_V1_WatchEventsRequest()
        request.onlyRemembered = !follow
        let asked = request
        guard follow else {
            let events = try agent.call { client in
                try await client.watchEvents(asked) { response in
                    var events: [Kaml_Agent_V1_Event] = []
                    for try await event in response.messages { events.append(event) }
                    return events
                }
            }
            return answer(EventsReport(events: events))
        }
        let format = output.format
        try agent.call { client in
            try await client.watchEvents(asked) { response in
                for try await event in response.messages { Self.say(event, format) }
            }
        }
    }

    private static func say(_ event: Kaml_Agent_V1_Event, _ format: OutputFormat) {
        let stdout = StandardOutput()
        switch format {
        case .table: stdout.write(EventsReport.line(event))
        case .json: stdout.write(JSONText.line(EventsReport.value(event)))
        case .yaml: stdout.write(YAMLText.encode(.list([EventsReport.value(event)])))
        }
        stdout.flush()
    }
}

/// What `kaml events` answers.
struct EventsReport: Report {
    let events: [Kaml_Agent_V1_Event]

    var value: OutputValue { ["events": .list(events.map(Self.value))] }

    func render() -> String { events.map(Self.line).joined() }

    static func value(_ event: Kaml_Agent_V1_Event) -> OutputValue {
        var object = OutputObject([
            "sequence": .unsigned(event.sequence),
            "time": .time(Timestamp(unixNanoseconds: event.timeUnixNs)),
            "severity": .string(severity(event)), "kind": .string(event.kind),
            "message": .string(event.message),
        ])
        if !event.mountID.isEmpty { object["mount"] = .string(event.mountID) }
        return object.value
    }

    static func line(_ event: Kaml_Agent_V1_Event) -> String {
        let time = TimeText.local(Timestamp(unixNanoseconds: event.timeUnixNs))
        let severity = severity(event)
        let padded = severity + String(repeating: " ", count: 7 - min(7, severity.utf8.count))
        return "\(time)  \(padded)  \(CellText.safe(event.kind)): \(CellText.safe(event.message))\n"
    }

    private static func severity(_ event: Kaml_Agent_V1_Event) -> String {
        switch event.severity {
        case .info: "info"
        case .warning: "warning"
        case .error: "error"
        case .unspecified, .UNRECOGNIZED: "unknown"
        }
    }
}

extension Timestamp {
    init(unixNanoseconds: Int64) {
        // Rounds down also before 1970.
        let second: Int64 = 1_000_000_000
        var (seconds, rest) = unixNanoseconds.quotientAndRemainder(dividingBy: second)
        if rest < 0 {
            seconds -= 1
            rest += second
        }
        self.init(seconds: seconds, nanoseconds: UInt32(rest))
    }
}
