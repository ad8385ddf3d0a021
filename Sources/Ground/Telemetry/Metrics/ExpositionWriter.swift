import System

/// The forms in which metrics travel.
package enum ExpositionFormat: Sendable {
    /// Prometheus' text format 0.0.4.
    case prometheusText
    /// OpenMetrics 1.0, which also carries exemplars.
    case openMetrics

    package var contentType: String {
        switch self {
        case .prometheusText: "text/plain; version=0.0.4; charset=utf-8"
        case .openMetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8"
        }
    }

    /// What a client that sent this `accept` field gets: OpenMetrics when it names it with a weight above 0.
    package init(accept: String?) {
        self = .prometheusText
        for range in (accept ?? "").prefix(4096).split(separator: ",") {
            let parts = range.split(separator: ";").map { Self.trimmed($0) }
            guard parts.first?.lowercased() == "application/openmetrics-text" else { continue }
            let refuses = parts.dropFirst().contains {
                $0.hasPrefix("q=") && (Double(String($0.dropFirst(2))) ?? 1) <= 0
            }
            if !refuses { self = .openMetrics }
        }
    }

    private static func trimmed(_ text: Substring) -> Substring {
        var text = text.drop { $0 == " " || $0 == "\t" }
        while let last = text.last, last == " " || last == "\t" { text.removeLast() }
        return text
    }
}

/// Writes the numbers of a scrape as text.
struct ExpositionWriter {
    private let format: ExpositionFormat
    private(set) var bytes: [UInt8] = []

    init(_ format: ExpositionFormat) {
        self.format = format
        bytes.reserveCapacity(64 << 10)
    }

    mutating func write(_ collection: MetricCollection) {
        let described = MetricCatalogue.all.sorted { $0.name < $1.name }
        for descriptor in described {
            guard let family = collection.families[descriptor.index] else { continue }
            writeHead(descriptor)
            write(family, descriptor)
        }
        if format == .openMetrics { append("# EOF\n") }
    }

    // MARK: Families

    private mutating func writeHead(_ descriptor: MetricDescriptor) {
        let name = familyName(descriptor)
        append("# HELP \(name) ")
        appendEscaped(descriptor.help, quotes: format == .openMetrics)
        append("\n# TYPE \(name) \(typeName(descriptor))\n")
        if format == .openMetrics, let unit = unitName(descriptor), name.hasSuffix("_\(unit)") {
            append("# UNIT \(name) \(unit)\n")
        }
    }

    /// OpenMetrics names the family, and samples have suffixes; in the older format each counter is its own family.
    private func familyName(_ descriptor: MetricDescriptor) -> String {
        guard format == .openMetrics else { return descriptor.name }
        switch descriptor.kind {
        case .counter: return String(descriptor.name.dropLast("_total".count))
        case .info: return String(descriptor.name.dropLast("_info".count))
        case .gauge, .histogram: return descriptor.name
        }
    }

    private func typeName(_ descriptor: MetricDescriptor) -> String {
        switch descriptor.kind {
        case .counter: "counter"
        case .gauge: "gauge"
        case .histogram: "histogram"
        case .info: format == .openMetrics ? "info" : "gauge"
        }
    }

    private func unitName(_ descriptor: MetricDescriptor) -> String? {
        switch descriptor.unit {
        case .none: nil
        case .bytes: "bytes"
        case .seconds: "seconds"
        }
    }

    private mutating func write(_ family: MetricCollection.Family, _ descriptor: MetricDescriptor) {
        for (series, count) in family.counts.enumerated() {
            append(descriptor.name)
            appendLabels(descriptor, series)
            append(" \(descriptor.unit == .seconds ? Self.seconds(count) : "\(count)")\n")
        }
        for (series, level) in family.levels.enumerated() {
            guard let level else { continue }
            append(descriptor.name)
            appendLabels(descriptor, series)
            append(" \(Self.number(descriptor.unit == .seconds ? level / 1e9 : level))\n")
        }
        for (values, amount) in family.texts.sorted(by: { $0.key.lexicographicallyPrecedes($1.key) }) {
            append(descriptor.name)
            appendLabels(Array(zip(descriptor.labels.map(\.name), values)))
            append(" \(Self.number(amount))\n")
        }
        for (series, distribution) in family.distributions.enumerated() {
            write(distribution, descriptor, series)
        }
    }

    private mutating func write(
        _ distribution: Distribution, _ descriptor: MetricDescriptor, _ series: Int
    ) {
        let labels = pairs(descriptor, series)
        var cumulated: UInt64 = 0
        for bucket in 0..<DurationBuckets.count {
            cumulated &+= distribution.buckets[bucket]
            let bounds = DurationBuckets.bounds
            let end = bucket < bounds.count ? Self.seconds(bounds[bucket]) : "+Inf"
            append("\(descriptor.name)_bucket")
            appendLabels(labels + [("le", end)])
            append(" \(cumulated)")
            if format == .openMetrics, let exemplar = distribution.exemplars[bucket] {
                append(" # {trace_id=\"\(exemplar.trace)\"} \(Self.seconds(exemplar.duration)) ")
                append(Self.seconds(exemplar.time))
            }
            append("\n")
        }
        append("\(descriptor.name)_sum")
        appendLabels(labels)
        append(" \(Self.seconds(distribution.sum))\n\(descriptor.name)_count")
        appendLabels(labels)
        append(" \(cumulated)\n")
    }

    // MARK: Labels

    private func pairs(_ descriptor: MetricDescriptor, _ series: Int) -> [(String, String)] {
        var rest = series
        var pairs: [(String, String)] = []
        for label in descriptor.labels.reversed() {
            pairs.append((label.name, label.values[rest % label.values.count]))
            rest /= label.values.count
        }
        return pairs.reversed()
    }

    private mutating func appendLabels(_ descriptor: MetricDescriptor, _ series: Int) {
        appendLabels(pairs(descriptor, series))
    }

    private mutating func appendLabels(_ pairs: [(String, String)]) {
        if pairs.isEmpty { return }
        append("{")
        for (index, pair) in pairs.enumerated() {
            append(index == 0 ? "\(pair.0)=\"" : ",\(pair.0)=\"")
            appendEscaped(pair.1, quotes: true)
            append("\"")
        }
        append("}")
    }

    // MARK: Text

    private mutating func append(_ text: String) { bytes.append(contentsOf: text.utf8) }

    private mutating func appendEscaped(_ text: String, quotes: Bool) {
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\\"): append("\\\\")
            case UInt8(ascii: "\n"): append("\\n")
            case UInt8(ascii: "\"") where quotes: append("\\\"")
            default: bytes.append(byte)
            }
        }
    }

    /// Nanoseconds as decimal seconds, exactly.
    static func seconds(_ nanoseconds: UInt64) -> String {
        decimal(nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000)
    }

    private static func seconds(_ time: Timestamp) -> String {
        decimal(UInt64(clamping: time.seconds), UInt64(time.nanoseconds))
    }

    private static func decimal(_ whole: UInt64, _ nanoseconds: UInt64) -> String {
        var digits = String(nanoseconds)
        digits = String(repeating: "0", count: 9 - digits.utf8.count) + digits
        while digits.utf8.count > 1, digits.utf8.last == UInt8(ascii: "0") { digits.removeLast() }
        return "\(whole).\(digits)"
    }

    static func number(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value > 0 ? "+Inf" : "-Inf" }
        if let whole = Int64(exactly: value) { return "\(whole)" }
        return "\(value)"
    }
}
