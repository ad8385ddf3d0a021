import Chunking
package import DatasetStore

extension Failure {
    /// A name that was typed and names nothing: says what is near it.
    package init(_ error: SnapshotReferenceError) {
        switch error {
        case .malformed(let text, let why):
            self.init(
                .usage, "\"\(text)\" does not name a snapshot", why: why,
                hint:
                    "write DATASET, DATASET@BRANCH, DATASET@TAG, DATASET@main~3 or DATASET@<first digits of an id>"
            )
        case .noSuchDataset(let dataset, let close):
            self.init(
                .notFound, "there is no dataset \(dataset)",
                hint: Self.hint(close, else: "`kaml list` shows what there is"),
                dataset: dataset.text)
        case .noSuchName(let reference, let close):
            self.init(
                .notFound, "\(reference.dataset) has no branch, tag or snapshot \(reference.name)",
                hint: Self.hint(
                    close.map { "\(reference.dataset)@\($0)" },
                    else: "`kaml list` shows what there is"),
                dataset: reference.dataset.text)
        case .ambiguous(let reference, let candidates):
            self.init(
                .usage, "\(reference) could be \(candidates.count) snapshots",
                why: candidates.map { String($0.prefix(16)) }.joined(separator: ", "),
                hint: "give more digits",
                dataset: reference.dataset.text)
        case .tooFewAncestors(let reference, let available):
            self.init(
                .notFound, "\(reference) goes back too far",
                why:
                    "there \(available == 1 ? "is 1 commit" : "are \(available) commits") before \(reference.dataset)@\(reference.name)",
                hint: "`kaml log \(reference.dataset)@\(reference.name)` lists them",
                dataset: reference.dataset.text)
        }
    }

    /// Says also what a dataset has whose names are all unlike the one that was typed.
    package init(_ error: SnapshotReferenceError, in state: LogState) {
        self.init(error)
        guard case .noSuchName(let reference, let close) = error, close.isEmpty,
            let names = state.datasets[reference.dataset]
        else { return }
        let dataset = reference.dataset
        let lists = [
            Self.some(names.branches.keys.map(\.text), "branch", "branches"),
            Self.some(names.tags.keys.map(\.text), "tag", "tags"),
        ].compactMap(\.self)
        if !lists.isEmpty {
            hint = "\(dataset) has \(lists.joined(separator: " and ")); `kaml list` shows all"
        } else if let last = names.commits.last, let newest = state.commits[last]?.commit.snapshot {
            let id = newest.hex.prefix(12)
            hint =
                "it has no branch or tag any more, its newest snapshot is \(dataset)@\(id); "
                + "`kaml branch \(dataset) main \(id)` names it again"
        }
    }

    private static func some(_ names: [String], _ one: String, _ many: String) -> String? {
        guard !names.isEmpty else { return nil }
        let listed = 5
        let more = names.count > listed ? ", ..." : ""
        let list = names.sorted().prefix(listed).joined(separator: ", ")
        return "the \(names.count == 1 ? one : many) \(list)\(more)"
    }

    package init(_ conflict: LogConflict) {
        let status: ExitStatus =
            switch conflict {
            case .noSuchBranch, .noSuchTag, .noSuchCommit: .notFound
            case .parentIsNotHead, .branchExists, .tagExists, .refMoved: .conflict
            }
        self.init(status, sentence: conflict.description)
    }

    package init(_ error: RecordLogError) {
        if case .conflict(let conflict) = error {
            self.init(conflict)
        } else {
            self.init(StoreError(error))
        }
    }

    /// A sentence of the form `what: why; what to do`.
    init(_ status: ExitStatus, sentence: String) {
        let (what, why, hint) = Self.split(sentence)
        self.init(status, what, why: why, hint: hint)
    }

    static func split(_ sentence: String) -> (what: String, why: String?, hint: String?) {
        let (head, hint) = halves(sentence, at: sentence.lastRange(of: "; "))
        let (what, why) = halves(head, at: head.firstRange(of: ": "))
        return (what, why, hint)
    }

    private static func halves(_ text: String, at range: Range<String.Index>?) -> (String, String?) {
        guard let range else { return (text, nil) }
        return (String(text[..<range.lowerBound]), String(text[range.upperBound...]))
    }

    private static func hint(_ close: [String], else fallback: String) -> String {
        close.isEmpty ? fallback : "did you mean \(close.joined(separator: " or "))?"
    }
}

extension String {
    fileprivate func firstRange(of separator: String) -> Range<Index>? {
        var start = startIndex
        while let end = index(start, offsetBy: separator.count, limitedBy: endIndex) {
            if self[start..<end] == separator { return start..<end }
            start = index(after: start)
        }
        return nil
    }

    fileprivate func lastRange(of separator: String) -> Range<Index>? {
        var end = endIndex
        while let start = index(end, offsetBy: -separator.count, limitedBy: startIndex) {
            if self[start..<end] == separator { return start..<end }
            end = index(before: end)
        }
        return nil
    }
}
