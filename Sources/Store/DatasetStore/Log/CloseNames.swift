/// Names that somebody may have meant.
enum CloseNames {
    private static let limit = 3

    /// The names that differ from `word` in case only, by a few letters, or by what follows it; the closest first.
    static func of(_ word: String, among names: [String]) -> [String] {
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

    /// Edits (insert, delete, replace) between two words. Names have at most 200 bytes, so the table is small.
    private static func distance(_ left: [UInt8], _ right: [UInt8]) -> Int {
        var row = Array(0...right.count)
        for (index, byte) in left.enumerated() {
            var diagonal = row[0]
            row[0] = index + 1
            for column in right.indices {
                let replaced = diagonal + (byte == right[column] ? 0 : 1)
                diagonal = row[column + 1]
                row[column + 1] = min(replaced, diagonal + 1, row[column] + 1)
            }
        }
        return row[right.count]
    }
}
