import Logging
import System
import Telemetry

/// One thing to log, ready to be written in any form.
struct LogRecord: Sendable {
    var time: Timestamp
    var level: Logger.Level
    var logger: String
    var message: String
    /// Flat and sorted by key, without secrets.
    var labels: [(key: String, value: String)]
    var error: (type: String, message: String)?
    var span: SpanContext?
    /// How often the same was left out before this.
    var repeated = 0
    var file: String
    var line: UInt
}

extension LogRecord {
    /// UTF-8 bytes of a message or a label.
    static let longestText = 8 << 10
    static let mostLabels = 64

    /// Cuts what is too long; whether something was.
    mutating func bound() -> Bool {
        var isCut = false
        func bounded(_ text: String) -> String {
            guard text.utf8.count > Self.longestText else { return text }
            isCut = true
            return String(text.unicodeScalars.prefix(Self.longestText / 4)) + "…"
        }
        message = bounded(message)
        labels = labels.map { (bounded($0.key), bounded($0.value)) }
        if labels.count > Self.mostLabels {
            labels = Array(labels.prefix(Self.mostLabels))
            isCut = true
        }
        if let error { self.error = (bounded(error.type), bounded(error.message)) }
        return isCut
    }

    /// `dictionary.key` for what is nested.
    static func flat(_ metadata: Logger.Metadata, below prefix: String = "") -> [(key: String, value: String)]
    {
        var labels: [(key: String, value: String)] = []
        for (key, value) in metadata {
            let name = prefix.isEmpty ? key : "\(prefix).\(key)"
            if SecretWords.isSecret(key: key) {
                labels.append((name, SecretWords.replacement))
                continue
            }
            switch value {
            // Nothing sensible is deeper.
            case .dictionary(let inner) where prefix.utf8.count < 256: labels += flat(inner, below: name)
            case .array(let values) where prefix.utf8.count < 256:
                let members = values.enumerated().map { ("\($0.offset)", $0.element) }
                labels += flat(Dictionary(uniqueKeysWithValues: members), below: name)
            default: labels.append((name, SecretWords.redacted("\(value)")))
            }
        }
        return labels.sorted { $0.key < $1.key }
    }
}
