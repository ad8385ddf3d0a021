package import Chunking

/// What a person types to name a snapshot: `name`, `name@main`, `name@v2`, `name@main~3`, `name@<id prefix>`.
package struct SnapshotReference: Hashable, Sendable, CustomStringConvertible {
    /// The shortest id prefix, in hexadecimal digits.
    package static let minimumPrefixDigits = 6

    package var dataset: DatasetName
    /// A branch, a tag, or the first digits of a snapshot's id, looked for in this order.
    package var name: RefName
    /// How many commits before it.
    package var stepsBack: UInt64

    /// A name without `@` means the branch `main`.
    package init(dataset: DatasetName, name: RefName = .main, stepsBack: UInt64 = 0) {
        self.dataset = dataset
        self.name = name
        self.stepsBack = stepsBack
    }

    /// Parses what a person typed.
    package init(_ text: String) throws(SnapshotReferenceError) {
        let parts = text.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false)
        guard let first = parts.first, let dataset = DatasetName(String(first)) else {
            throw .malformed(text, "\"\(parts.first ?? "")\" cannot be a dataset's name: \(NameRule.remedy)")
        }
        guard parts.count == 2 else {
            self.init(dataset: dataset)
            return
        }
        let reference = parts[1].split(separator: "~", maxSplits: 1, omittingEmptySubsequences: false)
        guard let word = reference.first, let name = RefName(String(word)) else {
            throw .malformed(
                text, "\"\(reference.first ?? "")\" cannot be a branch, tag or snapshot id: \(NameRule.remedy)")
        }
        guard reference.count == 2 else {
            self.init(dataset: dataset, name: name)
            return
        }
        let digits = reference[1]
        guard digits.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
            let stepsBack = UInt64(digits)
        else {
            throw .malformed(text, "after ~ comes the number of commits to go back, as in \(dataset)@\(name)~3")
        }
        self.init(dataset: dataset, name: name, stepsBack: stepsBack)
    }

    package var description: String {
        "\(dataset)@\(name)" + (stepsBack > 0 ? "~\(stepsBack)" : "")
    }
}

/// The snapshot that a reference names.
package struct ResolvedSnapshot: Hashable, Sendable {
    package var dataset: DatasetName
    package var snapshot: ContentHash
    /// The record of its commit.
    package var sequence: UInt64
    /// The branch or tag it was named by; nil for an id prefix, or when the reference went back from there.
    package var refName: RefName?
}

/// Why a reference names no snapshot.
package enum SnapshotReferenceError: Error, Hashable, Sendable {
    case malformed(String, String)
    /// `close`: names that are nearly the same, the closest first.
    case noSuchDataset(DatasetName, close: [String])
    case noSuchName(SnapshotReference, close: [String])
    /// Ids in hexadecimal.
    case ambiguous(SnapshotReference, candidates: [String])
    case tooFewAncestors(SnapshotReference, available: UInt64)
}

extension SnapshotReferenceError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .malformed(let text, let why): "\"\(text)\" does not name a snapshot: \(why)"
        case .noSuchDataset(let dataset, let close):
            "there is no dataset \(dataset)" + Self.hint(close, else: "`kaml list` shows what there is")
        case .noSuchName(let reference, let close):
            "\(reference.dataset) has no branch, tag or snapshot \(reference.name)"
                + Self.hint(close, else: "`kaml log \(reference.dataset)` shows what there is")
        case .ambiguous(let reference, let candidates):
            "\(reference) could be \(candidates.joined(separator: ", ")); give more digits"
        case .tooFewAncestors(let reference, let available):
            "\(reference) goes back too far: there \(available == 1 ? "is 1 commit" : "are \(available) commits") "
                + "before \(reference.dataset)@\(reference.name)"
        }
    }

    private static func hint(_ close: [String], else fallback: String) -> String {
        close.isEmpty ? "; \(fallback)" : "; did you mean \(close.joined(separator: " or "))?"
    }
}
