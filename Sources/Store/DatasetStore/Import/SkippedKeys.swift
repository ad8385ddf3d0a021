package import System

/// How many keys, and the first of them.
package struct KeySample: Sendable, Hashable {
    package static let listed = 20

    package internal(set) var count: UInt64 = 0
    /// The first ones, at most `listed`.
    package internal(set) var examples: [ByteString] = []

    mutating func add(_ key: ByteString) {
        count += 1
        if examples.count < Self.listed { examples.append(key) }
    }
}

/// Objects that could not become files, by reason.
package struct SkippedKeys: Sendable, Hashable {
    package private(set) var byProblem: [KeyProblem: KeySample] = [:]

    package var count: UInt64 { byProblem.values.reduce(0) { $0 + $1.count } }

    /// In the order in which the reasons are documented.
    package var list: [(problem: KeyProblem, keys: KeySample)] {
        KeyProblem.allCases.compactMap { problem in byProblem[problem].map { (problem, $0) } }
    }

    mutating func add(_ problem: KeyProblem, _ key: ByteString) {
        byProblem[problem, default: KeySample()].add(key)
    }
}
