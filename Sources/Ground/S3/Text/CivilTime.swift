/// A second in UTC, as S3 writes it: dates of the Gregorian calendar without Foundation.
struct CivilTime: Hashable {
    var year: Int
    var month: Int
    var day: Int
    /// 0..<86400.
    var secondOfDay: Int

    /// Nil for a date that the calendar does not have.
    init?(year: Int, month: Int, day: Int, hour: Int, minute: Int, second: Int) {
        // 60: a leap second counts as the one after.
        guard (1...9999).contains(year), (1...12).contains(month), (1...31).contains(day),
            (0..<24).contains(hour), (0..<60).contains(minute), (0...60).contains(second)
        else { return nil }
        (self.year, self.month, self.day) = (year, month, day)
        secondOfDay = hour * 3600 + minute * 60 + second
        guard Self.date(daysSinceEpoch: daysSinceEpoch) == (year, month, day) else { return nil }
    }

    /// `seconds` since the epoch, taken into the years 1 to 9999.
    init(secondsSinceEpoch seconds: Int64) {
        let seconds = Int(min(max(seconds, -62_135_596_800), 253_402_300_799))
        let days = seconds >= 0 ? seconds / 86400 : -((86399 - seconds) / 86400)
        (year, month, day) = Self.date(daysSinceEpoch: days)
        secondOfDay = seconds - days * 86400
    }

    var secondsSinceEpoch: Int64 { Int64(daysSinceEpoch * 86400 + secondOfDay) }

    /// `20130524T000000Z`
    var basic: String {
        "\(basicDate)T\(two(secondOfDay / 3600))\(two(secondOfDay / 60 % 60))\(two(secondOfDay % 60))Z"
    }

    /// `20130524`
    var basicDate: String { "\(two(year / 100))\(two(year % 100))\(two(month))\(two(day))" }

    // Days from civil and back: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms". March is month 0, so that
    // a leap day is the last of its year.
    private var daysSinceEpoch: Int {
        let shifted = month <= 2 ? year - 1 : year
        let era = shifted / 400
        let yearOfEra = shifted - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return era * 146_097 + dayOfEra - 719_468
    }

    private static func date(daysSinceEpoch: Int) -> (Int, Int, Int) {
        let days = daysSinceEpoch + 719_468
        let era = days / 146_097
        let dayOfEra = days - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day)
    }

    private func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
}

extension CivilTime {
    /// `2009-10-12T17:50:30.000Z`, with or without a fraction. Returns the fraction in nanoseconds too.
    static func parseISO(_ text: [UInt8]) -> (time: CivilTime, nanoseconds: UInt32)? {
        guard text.count >= 20, text.count <= 40, text[4] == UInt8(ascii: "-"), text[7] == UInt8(ascii: "-"),
            text[10] == UInt8(ascii: "T"), text[13] == UInt8(ascii: ":"), text[16] == UInt8(ascii: ":"),
            let year = number(text[0..<4]), let month = number(text[5..<7]), let day = number(text[8..<10]),
            let hour = number(text[11..<13]), let minute = number(text[14..<16]),
            let second = number(text[17..<19]),
            let time = CivilTime(
                year: year, month: month, day: day, hour: hour, minute: minute, second: second)
        else { return nil }
        var rest = text[19...]
        var nanoseconds = 0
        if rest.first == UInt8(ascii: ".") {
            let digits = rest.dropFirst().prefix { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
            guard !digits.isEmpty, let value = number(digits.prefix(9)) else { return nil }
            nanoseconds = (digits.count..<9).reduce(value) { value, _ in value * 10 }
            rest = rest[digits.endIndex...]
        }
        guard rest.elementsEqual("Z".utf8) || rest.elementsEqual("+00:00".utf8) else { return nil }
        return (time, UInt32(nanoseconds))
    }

    /// `Wed, 21 Oct 2015 07:28:00 GMT`, the form that servers must send.
    static func parseHTTP(_ text: String) -> CivilTime? {
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        let words = text.split(separator: " ")
        guard words.count == 6, words[5] == "GMT" || words[5] == "UTC",
            let day = number(Array(words[1].utf8)[...]),
            let month = months.firstIndex(of: String(words[2])),
            let year = number(Array(words[3].utf8)[...])
        else { return nil }
        let clock = words[4].split(separator: ":").map { number(Array($0.utf8)[...]) }
        guard clock.count == 3, let hour = clock[0], let minute = clock[1], let second = clock[2] else {
            return nil
        }
        return CivilTime(year: year, month: month + 1, day: day, hour: hour, minute: minute, second: second)
    }

    private static func number(_ digits: ArraySlice<UInt8>) -> Int? {
        guard !digits.isEmpty, digits.count <= 9 else { return nil }
        var value = 0
        for digit in digits {
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(digit) else { return nil }
            value = value * 10 + Int(digit - UInt8(ascii: "0"))
        }
        return value
    }
}
