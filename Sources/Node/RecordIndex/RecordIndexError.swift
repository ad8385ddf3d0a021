/// Why records cannot be found in a snapshot's files.
package struct RecordIndexError: Error, Sendable, CustomStringConvertible {
    package enum Code: String, Sendable {
        /// Bytes that are not what the format promises.
        case damaged
        /// A format, codec or member that is not served.
        case unsupported
        /// No file of the snapshot is asked for.
        case notFound
        case invalidInput
        /// The files' bytes, or the disk that keeps the index, cannot be had now.
        case unavailable
        /// Whoever waited for the index does not any more.
        case cancelled
    }

    package var code: Code
    /// What happened, in one sentence without the places below.
    package var message: String
    package var path: String?
    /// In the file's decoded bytes.
    package var offset: UInt64?
    /// Of the file, from 0.
    package var record: UInt64?
    package var cause: String?
    package var remedy: String?

    package init(
        _ code: Code, _ message: String, path: String? = nil, offset: UInt64? = nil, record: UInt64? = nil,
        cause: (any Error)? = nil, remedy: String? = nil
    ) {
        self.code = code
        self.message = message
        self.path = path
        self.offset = offset
        self.record = record
        self.cause = cause.map { "\($0)" }
        self.remedy = remedy
    }

    package var description: String {
        var text = message
        let places = [
            path.map { "path \($0)" }, record.map { "record \($0)" }, offset.map { "offset \($0)" },
        ].compactMap(\.self)
        if !places.isEmpty { text += " (" + places.joined(separator: ", ") + ")" }
        if let cause { text += ": \(cause)" }
        if let remedy { text += ". \(remedy)" }
        return text
    }

    /// The same error with the path filled in that the thrower could not know.
    func at(path: String) -> RecordIndexError {
        var error = self
        error.path = error.path ?? path
        return error
    }
}
