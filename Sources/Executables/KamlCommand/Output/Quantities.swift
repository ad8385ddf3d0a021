import Glibc
package import System

/// Amounts of bytes for people, in powers of 1024.
package enum BytesText {
    private static let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]

    /// `0 B`, `999 B`, `1.5 KiB`, `64.0 MiB`: three to four digits, one unit.
    package static func of(_ bytes: UInt64) -> String {
        guard bytes >= 1024 else { return "\(bytes) B" }
        var value = Double(bytes)
        var unit = 0
        // 1023.95 would be rounded up to a four-digit 1024.0.
        while value >= 1023.95, unit < units.count - 1 {
            value /= 1024
            unit += 1
        }
        return "\(Decimals.text(value, 1)) \(units[unit])"
    }

    package static func rate(_ bytesPerSecond: Double) -> String {
        guard bytesPerSecond.isFinite, bytesPerSecond > 0 else { return "0 B/s" }
        return of(UInt64(min(bytesPerSecond, 1e18))) + "/s"
    }
}

/// Fixed decimals without Foundation's formatters.
package enum Decimals {
    package static func text(_ value: Double, _ digits: Int) -> String {
        guard value.isFinite, abs(value) < 1e15 else { return "\(value)" }
        var scale = 1.0
        for _ in 0..<digits { scale *= 10 }
        let scaled = Int64((abs(value) * scale).rounded())
        let sign = value < 0 && scaled > 0 ? "-" : ""
        guard digits > 0 else { return sign + String(scaled) }
        let fraction = String(scaled % Int64(scale))
        return sign + String(scaled / Int64(scale)) + "."
            + String(repeating: "0", count: digits - fraction.utf8.count)
            + fraction
    }
}

/// Counts with separators: `1,234,567`.
package enum CountText {
    package static func of(_ value: UInt64) -> String {
        var digits = Array(String(value).utf8)
        var position = digits.count - 3
        while position > 0 {
            digits.insert(UInt8(ascii: ","), at: position)
            position -= 3
        }
        return String(decoding: digits, as: UTF8.self)
    }

    /// `1 file`, `2 files`.
    package static func of(_ value: UInt64, _ noun: String, _ plural: String? = nil) -> String {
        "\(of(value)) \(value == 1 ? noun : plural ?? noun + "s")"
    }
}

/// Durations for people.
package enum DurationText {
    /// `0.25 s`, `12.3 s`, `2m05s`, `1h04m`, `3d07h`.
    package static func of(_ seconds: Double) -> String {
        guard seconds.isFinite, seconds >= 0 else { return "?" }
        if seconds < 10 { return Decimals.text(seconds, 2) + " s" }
        if seconds < 59.95 { return Decimals.text(seconds, 1) + " s" }
        let whole = Int64(min(seconds, 1e12).rounded())
        if whole < 3600 { return "\(whole / 60)m\(two(whole % 60))s" }
        if whole < 86_400 { return "\(whole / 3600)h\(two(whole / 60 % 60))m" }
        return "\(whole / 86_400)d\(two(whole / 3600 % 24))h"
    }

    static func two(_ value: Int64) -> String { value < 10 ? "0\(value)" : "\(value)" }
}

/// Points in time.
package enum TimeText {
    /// RFC 3339 in UTC, with nanoseconds when there are any: `2026-11-23T03:29:31Z`.
    package static func utc(_ time: Timestamp) -> String {
        let day = Int64((Double(time.seconds) / 86_400).rounded(.down))
        let second = time.seconds - day * 86_400
        let (year, month, date) = civil(day)
        var text = "\(padded(year, 4))-\(padded(month, 2))-\(padded(date, 2))"
        text += "T\(padded(second / 3600, 2)):\(padded(second / 60 % 60, 2)):\(padded(second % 60, 2))"
        if time.nanoseconds > 0 { text += "." + padded(Int64(time.nanoseconds), 9) }
        return text + "Z"
    }

    /// `2026-11-23 03:29:31` by the machine's time zone, for tables.
    package static func local(_ time: Timestamp) -> String {
        var seconds = time_t(time.seconds)
        var parts = unsafe tm()
        guard unsafe localtime_r(&seconds, &parts) != nil else { return utc(time) }
        let date =
            unsafe "\(padded(Int64(parts.tm_year) + 1900, 4))-\(padded(Int64(parts.tm_mon) + 1, 2))-\(padded(Int64(parts.tm_mday), 2))"
        let clock =
            unsafe "\(padded(Int64(parts.tm_hour), 2)):\(padded(Int64(parts.tm_min), 2)):\(padded(Int64(parts.tm_sec), 2))"
        return "\(date) \(clock)"
    }

    /// Days since 1970 as year, month, day (Howard Hinnant's `civil_from_days`; exact for all of Int64's use).
    private static func civil(_ days: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let shifted = days + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        return (
            yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
        )
    }

    private static func padded(_ value: Int64, _ digits: Int) -> String {
        let text = String(value.magnitude)
        return (value < 0 ? "-" : "") + String(repeating: "0", count: max(0, digits - text.utf8.count)) + text
    }
}

/// Modes as `ls -l` shows them.
package enum ModeText {
    package static func of(_ mode: UInt32) -> String {
        let type: Character =
            switch mode & 0o170000 {
            case 0o040000: "d"
            case 0o120000: "l"
            case 0o100000: "-"
            default: "?"
            }
        var text = String(type)
        let special = [(UInt32(0o4000), "s", "S"), (0o2000, "s", "S"), (0o1000, "t", "T")]
        for (index, shift) in [UInt32(6), 3, 0].enumerated() {
            let bits = mode >> shift & 7
            text += bits & 4 != 0 ? "r" : "-"
            text += bits & 2 != 0 ? "w" : "-"
            let isExecutable = bits & 1 != 0
            let (bit, with, without) = special[index]
            text += mode & bit != 0 ? (isExecutable ? with : without) : (isExecutable ? "x" : "-")
        }
        return text
    }

    /// `0644`.
    package static func octal(_ mode: UInt32) -> String {
        let digits = String(mode & 0o7777, radix: 8)
        return String(repeating: "0", count: max(0, 4 - digits.utf8.count)) + digits
    }
}
