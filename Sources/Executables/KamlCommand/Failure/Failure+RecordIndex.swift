package import RecordIndex

extension Failure {
    /// Where in a file the trouble lies is part of what happened.
    package init(_ error: RecordIndexError) {
        let status: ExitStatus =
            switch error.code {
            case .damaged: .damaged
            case .unsupported: .unsupported
            case .notFound: .notFound
            case .invalidInput: .usage
            case .unavailable, .cancelled: .unavailable
            }
        let places = [error.record.map { "record \($0)" }, error.offset.map { "offset \($0)" }].compactMap(
            \.self)
        let what = places.isEmpty ? error.message : "\(error.message) (\(places.joined(separator: ", ")))"
        self.init(status, what, why: error.cause, hint: error.remedy.map(Self.lowered), path: error.path)
    }
}
