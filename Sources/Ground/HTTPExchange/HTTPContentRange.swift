/// A `content-range` field of an answer: `bytes 0-99/1000` (RFC 9110, 14.4).
package struct HTTPContentRange: Hashable, Sendable {
    /// Never empty.
    package var bytes: Range<UInt64>
    /// The size of the whole resource; nil where the server says `*`.
    package var total: UInt64?

    package init(bytes: Range<UInt64>, total: UInt64?) {
        self.bytes = bytes
        self.total = total
    }

    /// Nil for anything but one range of bytes that lies inside its total.
    package init?(parsing value: some StringProtocol) {
        let prefix = "bytes "
        guard value.lowercased().hasPrefix(prefix) else { return nil }
        let parts = value.dropFirst(prefix.count).split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2 else { return nil }
        let ends = parts[0].split(separator: "-", omittingEmptySubsequences: false)
        guard ends.count == 2, let first = Self.decimal(ends[0]), let last = Self.decimal(ends[1]),
            first <= last, last < .max
        else { return nil }
        var total: UInt64?
        if parts[1] != "*" {
            guard let size = Self.decimal(parts[1]), last < size else { return nil }
            total = size
        }
        self.init(bytes: first..<last + 1, total: total)
    }

    /// Digits only: Swift's own parser also takes a sign.
    package static func decimal(_ text: some StringProtocol) -> UInt64? {
        guard !text.isEmpty, text.utf8.allSatisfy({ 0x30...0x39 ~= $0 }) else { return nil }
        return UInt64(text)
    }
}

extension HTTPRequest {
    /// Whether an answer with this head is one to this request: where a range was asked for, a success must be 206 with
    /// exactly that range; where none was, never 206. Throws `.unexpected` otherwise. Refusals (3xx, 4xx, 5xx) pass: they are for the caller.
    package func check(_ head: HTTPResponseHead) throws(HTTPError) {
        guard (200..<300).contains(head.status) else { return }
        guard let range else {
            if head.status != 206 { return }
            throw HTTPError(.unexpected, origin, "all of it was asked for, and a part came", status: 206)
        }
        let wanted = "bytes \(range.lowerBound) to \(range.upperBound) were asked for"
        guard head.status == 206 else {
            throw HTTPError(
                .unexpected, origin, "\(wanted), and status \(head.status) came instead of 206",
                status: head.status)
        }
        guard let answered = head["content-range"].flatMap({ HTTPContentRange(parsing: $0) }) else {
            throw HTTPError(
                .unexpected, origin, "\(wanted), and the answer does not say which bytes it holds",
                status: 206)
        }
        guard answered.bytes == range else {
            throw HTTPError(
                .unexpected, origin,
                "\(wanted), and bytes \(answered.bytes.lowerBound) to \(answered.bytes.upperBound) came",
                status: 206)
        }
        guard let length = head["content-length"] else { return }
        guard HTTPContentRange.decimal(length) == range.upperBound - range.lowerBound else {
            throw HTTPError(.unexpected, origin, "\(wanted), and the answer has another length", status: 206)
        }
    }
}
