import ArgumentParser
import Glibc
import GRPCCore
import KamlCommand
import KamlProtos
import KamlRPC
import Stores
import System

/// `kaml debug`.
struct DebugCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "debug", abstract: "What a bug report needs.",
        subcommands: [DebugBundleCommand.self])
}

/// `kaml debug bundle`.
struct DebugBundleCommand: AnsweringCommand {
    static let configuration = CommandConfiguration(
        commandName: "bundle", abstract: "Collect what a bug report needs into one file, without secrets.",
        discussion: """
              kaml debug bundle
              kaml debug bundle --file /tmp/report.tar.zst

            From the agent: its configuration, metrics, events, and what Linux tells of its process. Of this machine: what
            `kaml doctor` finds. Files with secrets, environments and command lines are left out. Look into it before you
            send it: names of datasets, buckets and mount points are in it.
            """)

    @Option(help: "Where to write it. Else kaml-debug-TIME.tar.zst, here.", completion: .file())
    var file: String?
    @OptionGroup var agent: AgentOptions
    @OptionGroup var output: OutputOptions

    func run() throws {
        let now = HostClock().now()
        var bundle = DebugBundle(time: now)
        bundle.add("kaml/version.json", JSONText.encode(Versions().value))
        let facts = HostFacts.gather(cacheDirectory: try CachePlace.directory(nil))
        bundle.add("kaml/doctor.json", JSONText.encode(Diagnosis(facts.judge()).value))
        var missing: Failure?
        do { try addAgent(to: &bundle) } catch let failure as Failure {
            bundle.add("kaml/agent-error.json", JSONText.encode(failure.value))
            missing = failure
        }
        let path = try CachePlace.absolute(
            file.map { RawArguments.bytes(of: $0) } ?? ByteString("kaml-debug-\(now.seconds).tar.zst"))
        let count = bundle.names.count
        let names = bundle.names
        let size = try bundle.write(to: path)
        if let missing { StandardError.write("warning: without the agent's part: \(missing.what)\n") }
        var object = OutputObject([
            "bytes": .count(size), "files": .list(names.map(OutputValue.string)),
            "hasAgent": .bool(missing == nil),
        ])
        object.set("path", path)
        answer(
            Done(
                "wrote \(path): \(CountText.of(UInt64(count), "file")), \(BytesText.of(UInt64(size)))",
                object.value))
    }

    private func addAgent(to bundle: inout DebugBundle) throws {
        let status = try agent.call { try await $0.getStatus(Kaml_Agent_V1_GetStatusRequest()) }
        bundle.add("agent/status.json", JSONText.encode(StatusReport(status).value))
        bundle.add("agent/top.json", JSONText.encode(TopReport(status, status).value))
        let files = try agent.call { client in
            try await client.collectDebugFiles(Kaml_Agent_V1_CollectDebugFilesRequest()) { response in
                var files = DebugPieces()
                for try await piece in response.messages { try files.add(piece.name, Array(piece.data)) }
                return files
            }
        }
        for file in files.list { bundle.add("agent/\(file.name)", file.bytes) }
    }
}

/// The files of an agent, as they come in pieces.
private struct DebugPieces: Sendable {
    /// Of all files together.
    static let limit = 256 << 20
    static let mostFiles = 1000

    private(set) var list: [(name: String, bytes: [UInt8])] = []
    private var total = 0

    mutating func add(_ name: String, _ piece: [UInt8]) throws {
        total += piece.count
        if list.last?.name == name {
            list[list.count - 1].bytes += piece
        } else {
            list.append((name, piece))
        }
        guard total <= Self.limit, list.count <= Self.mostFiles else {
            throw Failure(
                .failure, "the agent sends more than a bundle takes",
                hint: "kaml and kamld should be of one version")
        }
    }
}

/// A bundle as it grows.
struct DebugBundle {
    private(set) var names: [String] = []
    private var archive: TarArchive

    init(time: Timestamp) { archive = TarArchive(time: time.seconds) }

    mutating func add(_ name: String, _ text: String) { add(name, Array(text.utf8)) }

    /// A name that an agent made up and that could lead somewhere is left out.
    mutating func add(_ name: String, _ bytes: [UInt8]) {
        if archive.add(name, bytes) { names.append(name) }
    }

    /// Makes the file, for its owner only. Bytes written.
    consuming func write(to path: ByteString) throws -> Int {
        func failure(_ error: Errno) -> Failure {
            Failure(
                error == .noSpace ? .noSpace : .failure, "cannot write the bundle", why: "\(error)",
                hint: error == .alreadyExists
                    ? "choose another --file, or remove it" : "choose another --file",
                path: "\(path)")
        }
        guard let bytes = archive.compressed() else { throw failure(Errno(rawValue: ENOMEM)) }
        do throws(Errno) {
            let file = try FileDescriptor.open(path, O_WRONLY | O_CREAT | O_EXCL, mode: 0o600)
            let outcome = unsafe bytes.withUnsafeBytes { buffer in
                Result { () throws(Errno) in try unsafe file.write(buffer, at: 0) }
            }
            try outcome.get()
        } catch { throw failure(error) }
        return bytes.count
    }
}
