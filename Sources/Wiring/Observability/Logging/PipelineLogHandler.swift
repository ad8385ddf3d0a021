import Instrumentation
import Logging
import System
import Telemetry

/// One logger's way into the pipeline.
struct PipelineLogHandler: LogHandler {
    private let label: String
    private let pipeline: LogPipeline
    private var ownLevel: Logger.Level?
    var metadata: Logger.Metadata = [:]
    var metadataProvider: Logger.MetadataProvider?

    init(_ label: String, _ pipeline: LogPipeline) {
        self.label = label
        self.pipeline = pipeline
    }

    /// The pipeline's, which may change, unless this logger was given one.
    var logLevel: Logger.Level {
        get { ownLevel ?? pipeline.level }
        set { ownLevel = newValue }
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        var merged = metadata
        if let provided = metadataProvider?.get() { merged.merge(provided) { $1 } }
        if let own = event.metadata { merged.merge(own) { $1 } }
        let span = Trace.current ?? InstrumentationContext.current?.activeSpan
        pipeline.take(
            LogRecord(
                time: pipeline.now, level: event.level, logger: label,
                message: SecretWords.redacted("\(event.message)"), labels: LogRecord.flat(merged),
                error: event.error.map { ("\(type(of: $0))", SecretWords.redacted("\($0)")) },
                span: span?.context, file: event.file, line: event.line))
    }
}
