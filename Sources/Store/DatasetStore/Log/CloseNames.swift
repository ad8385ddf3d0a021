/// Names that somebody may have meant.
package enum CloseNames {
    private static let limit = 3

    /// The names that differ from `word` in case only, by a few letters, or by what follows it; the closest first.
    package static func of(_ word: String, among names: [String]) -> [String] {
        let wanted = Array(word.lowercased().utf8)
        // A third of the letters wrong is still a typo; more is another word.
        let tolerance = max(1, wanted.count / 3)
        let ranked = names.compactMap { name -> (distance: Int, name: String)? in
            let candidate = Array(name.lowercased().utf8)
            let distance = candidate.starts(with: wanted) ? 1 : distance(wanted, candidate)
            return distance <= tolerance ? (distance, name) : nil
        }
        return ranked.sorted { ($0.distance, $0.name) < ($1.distance, $1.name) }.prefix(limit).map(\.name)
    }

    /// Edits (insert, delete, replace, swap of neighbours) between two words. Names have at most 200 bytes, so the
    /// tables are small.
    private static func distance(_ left: [UInt8], _ right: [UInt8]) -> Int {
        var beforeLast = [Int](repeating: 0, count: right.count + 1)
        var last = Array(0...right.count)
        for row in left.indices {
            var current = [row + 1]
            for column in right.indices {
                let replaced = last[column] + (left[row] == right[column] ? 0 : 1)
                var best = min(replaced, last[column + 1] + 1, current[column] + 1)
                if row > 0, column > 0, left[row] == right[column - 1], left[row - 1] == right[column] {
                    best = min(best, beforeLast[column - 1] + 1)
                }
                current.append(best)
            }
            beforeLast = last
            last = current
        }
        return last[right.count]
    }
}
