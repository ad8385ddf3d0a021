import KamlCommand
import KamlProtos
import System

/// `kaml status`.
struct StatusReport: Report {
    let status: Kaml_Agent_V1_Status

    init(_ status: Kaml_Agent_V1_Status) { self.status = status }

    var value: OutputValue {
        var cache = OutputObject([
            "allocatedBytes": .unsigned(status.cache.allocatedBytes),
            "limitBytes": .unsigned(status.cache.limitBytes),
            "containers": .unsigned(status.cache.containers),
            "fetchedBytes": .unsigned(status.cache.fetchedBytes),
            "fetchRequests": .unsigned(status.cache.fetchRequests),
            "filledBytes": .unsigned(status.cache.filledBytes),
            "failedChunks": .unsigned(status.cache.failedChunks),
            "readThroughs": .unsigned(status.cache.readThroughs),
            "encrypted": .bool(status.cache.encrypted),
        ])
        cache.set("directory", ByteString(Array(status.cache.directory)))
        return [
            "version": .string(status.version), "node": .string(status.node),
            "process": .integer(Int64(status.process)), "ready": .bool(status.ready),
            "problems": .list(status.problems.map(OutputValue.string)), "cache": cache.value,
            "mounts": .list(status.mounts.map(Self.value)),
            "pins": PinList(status).value,
            "residentBytes": .unsigned(status.resources.residentBytes),
            "openDescriptors": .unsigned(status.resources.openDescriptors),
        ]
    }

    static func value(_ mount: Kaml_Agent_V1_Mount) -> OutputValue {
        var object = OutputObject([
            "id": .string(mount.id), "name": .string(mount.name), "snapshot": .string(mount.snapshot),
            "store": .string(mount.store), "state": .string(word(mount.state)),
            "profile": .string(mount.profile == .large ? "large" : "small"),
            "passesThrough": .bool(mount.passesThrough), "takenOver": .bool(mount.takenOver),
            "readBytes": .unsigned(mount.activity.readBytes), "reads": .unsigned(mount.activity.reads),
        ])
        object.set("mountPoint", ByteString(Array(mount.mountPoint)))
        return object.value
    }

    static func word(_ state: Kaml_Agent_V1_MountState) -> String {
        switch state {
        case .mounting: "mounting"
        case .serving: "serving"
        case .leaving: "leaving"
        case .failed: "failed"
        case .unspecified, .UNRECOGNIZED: "unknown"
        }
    }

    func render() -> String {
        let ready = status.ready ? "ready" : "not ready"
        var text =
            "kamld \(status.version) on \(CellText.safe(status.node)), process \(status.process), \(ready)\n"
        for problem in status.problems { text += "problem: \(CellText.safe(problem))\n" }
        let cache = status.cache
        if !cache.degraded.isEmpty { text += "problem: the cache: \(CellText.safe(cache.degraded))\n" }
        let limit = cache.limitBytes > 0 ? " of \(BytesText.of(cache.limitBytes))" : ""
        text +=
            "cache \(ByteString(Array(cache.directory))): \(BytesText.of(cache.allocatedBytes))\(limit) in "
            + "\(CountText.of(cache.containers, "container")), \(BytesText.of(cache.fetchedBytes)) fetched so far\n"
        if cache.encrypted { text += "the cache is encrypted; passthrough is off\n" }
        text +=
            "memory \(BytesText.of(status.resources.residentBytes)), "
            + "\(CountText.of(status.resources.openDescriptors)) descriptors\n\n"
        var table = Table(
            [
                .init("MOUNT POINT"), .init("NAME"), .init("SNAPSHOT"), .init("STATE"), .init("PROFILE"),
                .init("READS", .right), .init("READ", .right),
            ], emptyText: "nothing is mounted")
        for mount in status.mounts {
            table.add([
                "\(ByteString(Array(mount.mountPoint)))", mount.name,
                CellText.safe(String(mount.snapshot.prefix(12))),
                Self.word(mount.state),
                mount.profile == .large ? "large" : "small", CountText.of(mount.activity.reads),
                BytesText.of(mount.activity.readBytes),
            ])
        }
        let pins = status.pins.isEmpty ? "" : "\n" + PinList(status).render()
        return text + table.render() + pins
    }
}

/// What `kaml mount` answers when an agent did it.
struct AgentMountReport: Report {
    let reply: Kaml_Agent_V1_MountReply

    init(_ reply: Kaml_Agent_V1_MountReply) { self.reply = reply }

    var value: OutputValue {
        guard case .object(var fields) = StatusReport.value(reply.mount) else { return .null }
        fields["existed"] = .bool(reply.existed)
        return .object(fields)
    }

    func render() -> String {
        let mount = reply.mount
        let place = ByteString(Array(mount.mountPoint))
        return
            "\(CellText.safe(mount.name)) is \(reply.existed ? "already mounted" : "mounted") at \(place)\n"
    }
}
