extension StoreError {
    /// An error of the log seen from a dataset.
    package init(_ error: RecordLogError) {
        switch error {
        case .store(let cause): self.init(cause)
        case .damaged(let key, _, let damage):
            self.init(damage.needsNewerProgram ? .unsupported : .damaged, error.description, object: key)
        case .gap(let missing, _, _): self.init(.damaged, error.description, object: missing)
        case .conflict(let conflict): self.init(.conflict, conflict.description)
        case .tooLarge: self.init(.invalidInput, error.description)
        case .outcomeUnknown(let key, _, _): self.init(.unavailable, error.description, object: key)
        case .busy: self.init(.unavailable, error.description)
        }
    }

    package init(_ error: SnapshotReferenceError) {
        let code: Code =
            switch error {
            case .malformed, .ambiguous: .invalidInput
            case .noSuchDataset, .noSuchName, .tooFewAncestors: .notFound
            }
        self.init(code, error.description)
    }
}
