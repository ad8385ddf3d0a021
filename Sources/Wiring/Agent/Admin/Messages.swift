import FoundationEssentials
import FuseSession
import KamlProtos
import System
import SwiftProtobuf
import Telemetry

extension Kaml_Agent_V1_Mount {
    init(_ record: MountRecord, _ activity: SessionStatistics?) {
        self.init()
        id = record.id
        mountPoint = Data(record.mountPoint.bytes)
        name = record.name
        snapshot = record.snapshot
        store = record.store
        switch record.profile {
        case .passthrough: profile = .large
        case .zeroMessageOpen: profile = .small
        case nil: profile = .unspecified
        }
        passesThrough = record.passesThrough
        switch record.state {
        case .mounting: state = .mounting
        case .serving: state = .serving
        case .leaving: state = .leaving
        case .stranded: state = .failed
        }
        sinceUnixNs = record.since.unixNanoseconds
        takenOver = record.isTakenOver
        files = record.files
        bytes = record.bytes
        if let activity {
            self.activity = .with {
                $0.reads = activity.reads
                $0.readBytes = activity.readBytes
                $0.lookups = activity.lookups
                $0.opens = activity.opens
                $0.passthroughOpens = activity.passthroughOpens
                $0.errors = activity.errors
            }
        }
    }
}

extension Kaml_Agent_V1_Event {
    init(_ event: AgentEvent) {
        self.init()
        sequence = event.sequence
        timeUnixNs = event.time.unixNanoseconds
        switch event.severity {
        case .info: severity = .info
        case .warning: severity = .warning
        case .error: severity = .error
        }
        kind = event.kind
        message = event.message
        mountID = event.mount
    }
}

extension Kaml_Agent_V1_SlowRequest {
    init(_ read: SlowRead) {
        self.init()
        operation = "read"
        dataset = read.dataset
        bytes = UInt64(clamping: read.bytes)
        nanoseconds = read.duration
        endedUnixNs = read.ended?.unixNanoseconds ?? 0
        traceID = read.trace.map { "\($0)" } ?? ""
        inFlight = read.ended == nil
        failed = read.hasFailed
    }
}

extension Timestamp {
    /// Since 1970; clamped, which is after the year 2262.
    var unixNanoseconds: Int64 {
        let (whole, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        guard !overflow else { return seconds < 0 ? .min : .max }
        let (sum, carry) = whole.addingReportingOverflow(Int64(nanoseconds))
        return carry ? .max : sum
    }
}
