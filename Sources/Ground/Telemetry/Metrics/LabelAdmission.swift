import System

/// Which values from outside are shown, so that no name of a dataset can make series without end: the first ones that
/// come, up to the metric's cap. A value keeps its place, since a counter must not move to another series.
final class LabelAdmission: Sendable {
    static let other = "other"
    /// UTF-8 bytes of one value.
    static let longestValue = 128

    private struct State {
        var admitted: [Int: Set<[String]>] = [:]
        var refusals: UInt64 = 0
    }
    private let state = Monitor(State())

    /// How often values were summed under "other".
    var refusals: UInt64 { state.withLock { $0.refusals } }

    /// The values to show: these, shortened, or "other" for each label.
    func admit(_ values: [String], to descriptor: MetricDescriptor) -> [String] {
        let count = descriptor.labels.count
        let values = values.prefix(count).map(Self.bounded)
        let other = Array(repeating: Self.other, count: count)
        guard values.count == count, values != other else { return other }
        return state.withLock { state in
            if state.admitted[descriptor.index]?.contains(values) == true { return values }
            guard state.admitted[descriptor.index, default: []].count < descriptor.cap ?? 0 else {
                state.refusals &+= 1
                return other
            }
            state.admitted[descriptor.index, default: []].insert(values)
            return values
        }
    }

    /// Forgets values that a gauge does not have any more, so that new ones find a place.
    func keep(_ values: some Sequence<[String]>, of descriptor: MetricDescriptor) {
        let values = Set(values)
        state.withLock { $0.admitted[descriptor.index]?.formIntersection(values) }
    }

    private static func bounded(_ value: String) -> String {
        guard value.utf8.count > longestValue else { return value }
        var end = longestValue
        let bytes = Array(value.utf8)
        // Not in the middle of a character.
        while end > 0, bytes[end] & 0xC0 == 0x80 { end -= 1 }
        return String(decoding: bytes[..<end], as: UTF8.self)
    }
}
