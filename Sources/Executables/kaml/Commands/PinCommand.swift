import ArgumentParser
import GRPCCore
import KamlCommand
import KamlProtos
import KamlRPC
import System

/// `kaml pin`.
struct PinCommand: AnsweringCommand {
    static let configuration = CommandConfiguration(
        commandName: "pin", abstract: "Keep a snapshot in the agent's cache from being evicted, for a time.",
        discussion: """
              kaml pin faces@v3 --for 12h      until then; asked again, from now on
              kaml pin faces@v3 --end
              kaml pin --list                  what is pinned, and until when

            A pin fetches nothing: `kaml warm` does. It outlives the agent, and ends by itself.
            """)

    @Argument(help: .init("The snapshot, as dataset@ref.", valueName: "dataset@ref"))
    var snapshot: String?
    @Option(
        name: .customLong("for"),
        help: .init("How long: a number with s, m, h or d (90m, 12h, 7d).", valueName: "time"),
        transform: LeaseText.seconds)
    var lease: UInt64?
    @Flag(help: "End the pin.")
    var end = false
    @Flag(help: "Tell what is pinned.")
    var list = false
    @OptionGroup var store: StoreOptions
    @OptionGroup var agent: AgentOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        if list {
            guard snapshot == nil, lease == nil, !end else { throw ValidationError("--list stands alone") }
            return
        }
        guard snapshot != nil else { throw ValidationError("name a snapshot, or give --list") }
        guard (lease != nil) != end else { throw ValidationError("give --for 12h, or --end") }
    }

    func run() throws {
        guard let snapshot else {
            return answer(
                PinList(try agent.call { try await $0.getStatus(Kaml_Agent_V1_GetStatusRequest()) }))
        }
        var request = Kaml_Agent_V1_PinRequest()
        request.target = try store.target(snapshot)
        request.leaseSeconds = lease ?? 0
        let asked = request
        answer(PinReport(reply: try agent.call { try await $0.pin(asked) }))
    }
}

/// A length of time on the command line.
enum LeaseText {
    private static let units: [Character: UInt64] = ["s": 1, "m": 60, "h": 3600, "d": 86_400]

    static func seconds(_ text: String) throws -> UInt64 {
        guard let unit = text.last.flatMap({ units[$0] }), let number = UInt64(text.dropLast()), number > 0
        else { throw ValidationError("\(text) is no time: give a number with s, m, h or d, such as 12h") }
        let (seconds, overflows) = number.multipliedReportingOverflow(by: unit)
        guard !overflows else { throw ValidationError("\(text) is too long") }
        return seconds
    }
}

/// What `kaml pin --list` answers.
struct PinList: Report {
    private let pins: [Kaml_Agent_V1_Pin]

    init(_ status: Kaml_Agent_V1_Status) { pins = status.pins }

    var value: OutputValue {
        .list(
            pins.map {
                [
                    "snapshot": .string($0.snapshot), "packs": .unsigned($0.packs),
                    "until": .time(Timestamp(unixNanoseconds: $0.untilUnixNs)),
                ]
            })
    }

    func render() -> String {
        var table = Table(
            [.init("PINNED SNAPSHOT"), .init("UNTIL"), .init("PACKS", .right)], emptyText: "nothing is pinned"
        )
        for pin in pins {
            table.add([
                CellText.safe(String(pin.snapshot.prefix(12))),
                TimeText.local(Timestamp(unixNanoseconds: pin.untilUnixNs)), CountText.of(pin.packs),
            ])
        }
        return table.render()
    }
}

/// What `kaml pin` answers.
struct PinReport: Report {
    let reply: Kaml_Agent_V1_PinReply

    private var end: Timestamp? {
        reply.untilUnixNs == 0 ? nil : Timestamp(unixNanoseconds: reply.untilUnixNs)
    }

    var value: OutputValue {
        var object: [String: OutputValue] = [
            "snapshot": .string(reply.snapshot), "name": .string(reply.name),
        ]
        if let end { object["until"] = .time(end) }
        return .object(object)
    }

    func render() -> String {
        let name = CellText.safe(reply.name)
        guard let end else { return "\(name) is not pinned any more\n" }
        return "\(name) is pinned until \(TimeText.local(end))\n"
    }
}
