package import System

/// A mount that answers.
package struct MountReport: Report {
    private let name: String
    private let snapshot: String
    private let mountPoint: ByteString
    private let process: Int32
    private let cacheDirectory: ByteString
    private let log: ByteString?
    private let profile: String
    private let passesThrough: Bool

    /// `log` is nil of a mount in the foreground.
    package init(
        name: String, snapshot: String, mountPoint: ByteString, process: Int32, cacheDirectory: ByteString,
        log: ByteString?, profile: String, passesThrough: Bool
    ) {
        self.name = name
        self.snapshot = snapshot
        self.mountPoint = mountPoint
        self.process = process
        self.cacheDirectory = cacheDirectory
        self.log = log
        self.profile = profile
        self.passesThrough = passesThrough
    }

    package var value: OutputValue {
        var object = OutputObject([
            "name": .string(name), "snapshot": .string(snapshot), "process": .integer(Int64(process)),
            "profile": .string(profile), "passthrough": .bool(passesThrough),
        ])
        object.set("mountPoint", mountPoint)
        object.set("cacheDirectory", cacheDirectory)
        if let log { object.set("log", log) }
        return object.value
    }

    package func render() -> String {
        let passthrough = passesThrough ? "on" : "off"
        return "\(name) (\(snapshot.prefix(12))) is mounted on \(mountPoint), profile \(profile), "
            + "passthrough \(passthrough), process \(process)\n"
    }
}
