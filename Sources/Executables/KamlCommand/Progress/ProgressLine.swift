/// One line of progress, as wide as the terminal.
package enum ProgressLine {
    private static let barWidth = 24

    /// `checking  [=========>      ]  45%  1.2 GiB / 2.7 GiB  430.0 MiB/s  ETA 3.6 s  1,234 packs`. What does
    /// not fit is cut at the end.
    package static func render(
        label: String, meter: ProgressMeter, total: UInt64?, note: String, columns: Int
    ) -> String {
        var parts = [label]
        if let fraction = meter.fraction(of: total), let total {
            parts.append(bar(fraction))
            parts.append("\(Int(fraction * 100))%")
            parts.append("\(BytesText.of(meter.done)) / \(BytesText.of(total))")
        } else if meter.done > 0 {
            parts.append(BytesText.of(meter.done))
        }
        if meter.done > 0 { parts.append(BytesText.rate(meter.rate)) }
        if let remaining = meter.remaining(of: total) { parts.append("ETA \(DurationText.of(remaining))") }
        if !note.isEmpty { parts.append(note) }
        return CellText.truncated(CellText.safe(parts.joined(separator: "  ")), to: max(10, columns - 1))
    }

    static func bar(_ fraction: Double) -> String {
        let filled = min(barWidth, max(0, Int(fraction * Double(barWidth))))
        let head = filled < barWidth ? ">" : ""
        return "[" + String(repeating: "=", count: filled) + head
            + String(repeating: " ", count: barWidth - filled - head.utf8.count) + "]"
    }
}
