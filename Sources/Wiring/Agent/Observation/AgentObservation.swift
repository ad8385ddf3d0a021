import CoreMetrics
import Glibc
import HTTPExchange
import Instrumentation
package import Logging
import Observability
import ServiceLifecycle
import System
import Telemetry
import Transport

/// What a process tells of itself while it runs: log lines, spans, and numbers about the process. Begins before anything
/// else, and ends after it.
package final class AgentObservation: Sendable {
    /// Version and commit of the build that runs; empty where it is not known.
    package struct Build: Hashable, Sendable {
        package var version: String
        package var commit: String

        package init(version: String, commit: String) {
            self.version = version
            self.commit = commit
        }
    }

    package let logger: Logger
    private let logs: LogPipeline
    private let recorder: SpanRecorder?
    private let exporter: SpanExporter?
    /// Whether the configuration chose the share of reads that are traced, and not OTEL_TRACES_SAMPLER.
    private let isSamplerConfigured: Bool

    /// Takes the process's logging, metrics and tracing over; once in a process.
    ///
    /// - Throws: `ConfigurationProblems`.
    package static func start(
        _ configuration: AgentConfiguration, _ build: Build
    ) throws(ConfigurationProblems) -> AgentObservation {
        let observation = try AgentObservation(configuration, build)
        observation.install(build)
        return observation
    }

    /// What `start` would refuse.
    package static func check(_ configuration: AgentConfiguration) throws(ConfigurationProblems) {
        _ = try ExportSettings(configuration)
    }

    private init(_ configuration: AgentConfiguration, _ build: Build) throws(ConfigurationProblems) {
        let export = try ExportSettings(configuration)
        var identity = ServiceIdentity.process(name: "kamld", version: build.version)
        identity.node = configuration.node
        identity.further = ExportSettings.resource()
        do throws(Errno) {
            logs = try LogPipeline(
                configuration.log.destination, identity, level: configuration.log.loggerLevel)
        } catch {
            throw ConfigurationProblems([ConfigurationProblem("log", "no thread for the log: \(error)")])
        }
        let logs = logs
        logger = Logger(label: "kamld") { logs.handler($0) }
        isSamplerConfigured =
            configuration.tracing.endpoint != nil || ServiceIdentity.environment("OTEL_TRACES_SAMPLER") == nil
        guard let export else {
            recorder = nil
            exporter = nil
            return
        }
        let recorder = SpanRecorder(
            export.sampler, slowNanoseconds: UInt64(configuration.tracing.slowMilliseconds) * 1_000_000)
        let transport = try Self.transport(export)
        let exporter = SpanExporter(
            recorder, transport, resource: identity.attributes, registry: .process
        ) { [logs] in logs.log(.warning, "kamld.tracing", $0) }
        do throws(Errno) { try exporter.start() } catch {
            throw ConfigurationProblems([ConfigurationProblem("tracing", "no thread for spans: \(error)")])
        }
        self.recorder = recorder
        self.exporter = exporter
    }

    private static func transport(
        _ settings: ExportSettings
    ) throws(ConfigurationProblems) -> any SpanTransport {
        switch settings.carrier {
        case .http: return HTTPSpanTransport(CurlHTTPClient(), settings)
        case .grpc:
            let origin = settings.origin
            do {
                let connection = try RPCConnection.network(
                    host: origin.host, port: Int(origin.port ?? 4317), isSecure: origin.isSecure)
                return GRPCSpanTransport(connection, settings)
            } catch {
                throw ConfigurationProblems([
                    ConfigurationProblem("tracing.endpoint", "TLS cannot be set up: \(error)")
                ])
            }
        }
    }

    /// For all libraries of the process.
    private func install(_ build: Build) {
        LoggingSystem.bootstrap { [logs] in logs.handler($0) }
        MetricsSystem.bootstrap(RegistryMetricsFactory())
        ProcessMetrics.register(in: .process)
        MetricsRegistry.process.collect { collection in
            collection.add(MetricCatalogue.agentBuildInfo, [build.version, build.commit], 1)
        }
        guard let recorder else { return }
        InstrumentationSystem.bootstrap(RecorderTracer(recorder))
        Trace.install(recorder)
    }

    /// Logs an event of the agent.
    package func log(_ event: AgentEvent) {
        let level: Logger.Level =
            switch event.severity {
            case .info: .info
            case .warning: .warning
            case .error: .error
            }
        var labels: Logger.Metadata = ["event": "\(event.kind)"]
        if !event.mount.isEmpty { labels["mount"] = "\(event.mount)" }
        logger.log(level: level, "\(event.kind): \(event.message)", metadata: labels)
    }

    /// Takes what can change while the process runs.
    package func reload(_ configuration: AgentConfiguration) {
        logs.level = configuration.log.loggerLevel
        if isSamplerConfigured { recorder?.sampledRatio = configuration.tracing.sampleRatio }
        recorder?.slowNanoseconds = UInt64(configuration.tracing.slowMilliseconds) * 1_000_000
    }

    /// Sends the last spans and writes the last lines; a few seconds long at most. Blocks.
    package func close() {
        exporter?.stop()
        logs.stop()
    }
}

/// Keeps the observation going until the services after it have ended, and has their last spans sent.
extension AgentObservation: Service {
    package func run() async throws {
        try? await gracefulShutdown()
        await Task.detached { [exporter] in
            await withCheckedContinuation { continuation in
                do throws(Errno) {
                    try Thread(name: "kaml-last-spans") {
                        exporter?.stop()
                        continuation.resume()
                    }
                    .detach()
                } catch { continuation.resume() }
            }
        }
        .value
    }
}

extension AgentConfiguration.Log {
    var loggerLevel: Logger.Level { Logger.Level(rawValue: level.rawValue) ?? .info }

    var destination: LogDestination {
        switch format {
        case .auto: .standard()
        case .json: .json(STDERR_FILENO)
        case .text: .human(STDERR_FILENO)
        case .journald: .journal(path: Journal.standardPath)
        }
    }
}

extension ExportSettings {
    /// Nil when neither the configuration nor OpenTelemetry's variables name a collector.
    init?(_ configuration: AgentConfiguration) throws(ConfigurationProblems) {
        let tracing = configuration.tracing
        let sampler = Sampler(ratio: tracing.sampleRatio)
        guard let endpoint = tracing.endpoint else {
            do throws(ExportSettingsError) {
                guard let settings = try ExportSettings.read(else: sampler) else { return nil }
                self = settings
                return
            } catch {
                throw ConfigurationProblems(
                    error.problems.map { ConfigurationProblem("environment", $0) })
            }
        }
        var fields: [HTTPField] = []
        if let file = tracing.headersFile { fields = try Self.fields(in: file) }
        let carrier: ExportProtocol = tracing.carrier == .grpc ? .grpc : .http
        guard
            let settings = ExportSettings(
                endpoint: endpoint, carrier: carrier, fields: fields, sampler: sampler)
        else {
            throw ConfigurationProblems([ConfigurationProblem("tracing.endpoint", "this is no URL")])
        }
        self = settings
    }

    private static func fields(in file: ByteString) throws(ConfigurationProblems) -> [HTTPField] {
        func problem(_ message: String) -> ConfigurationProblems {
            ConfigurationProblems([ConfigurationProblem("tracing.headersFile", "\(file) \(message)")])
        }
        let text: String?
        do throws(Errno) { text = try SecretFile.text(file) } catch {
            throw problem("cannot be read: \(error)")
        }
        guard let text, let fields = ExportSettings.fields(ofFile: text) else {
            throw problem("has something else than \"name: value\" lines of at most 64 KiB")
        }
        return fields
    }
}
