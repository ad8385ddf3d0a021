import System

/// Which users and groups may feed from which datasets: `user:1000=imagenet,coco-*;group:2000=*;*=public-*`.
///
/// Rules are alternatives: what one of them allows is allowed. Without rules everybody who reaches the socket may read what
/// the agent's stores hold.
package struct FeedAccess: Hashable, Sendable {
    private enum Who: Hashable {
        case everybody
        case user(UInt32)
        case group(UInt32)
    }

    private struct Rule: Hashable {
        var who: Who
        /// Names of datasets, in which `*` stands for any characters.
        var datasets: [String]
    }

    private var rules: [Rule] = []
    let text: String

    package init() { text = "" }

    /// Nil for what is no list of rules.
    package init?(_ text: String) {
        self.text = text
        if text.isEmpty { return }
        for part in text.split(separator: ";", omittingEmptySubsequences: false) {
            let sides = part.split(separator: "=", maxSplits: 1).map { $0.trimmed }
            guard sides.count == 2, let who = Self.who(sides[0]) else { return nil }
            let datasets = sides[1].split(separator: ",", omittingEmptySubsequences: false).map { $0.trimmed }
            guard !datasets.contains("") else { return nil }
            rules.append(Rule(who: who, datasets: datasets))
        }
    }

    package func allows(user: UInt32, group: UInt32, dataset: String) -> Bool {
        if rules.isEmpty { return true }
        return rules.contains { rule in
            switch rule.who {
            case .user(let id) where id != user: return false
            case .group(let id) where id != group: return false
            default:
                return rule.datasets.contains { Self.matches(Array($0.utf8)[...], Array(dataset.utf8)[...]) }
            }
        }
    }

    private static func who(_ text: String) -> Who? {
        if text == "*" { return .everybody }
        let sides = text.split(separator: ":", maxSplits: 1)
        guard sides.count == 2, let id = UInt32(sides[1]) else { return nil }
        switch sides[0] {
        case "user": return .user(id)
        case "group": return .group(id)
        default: return nil
        }
    }

    /// Names are short, so trying each place for a `*` is cheap.
    private static func matches(_ pattern: ArraySlice<UInt8>, _ name: ArraySlice<UInt8>) -> Bool {
        guard let first = pattern.first else { return name.isEmpty }
        if first != UInt8(ascii: "*") {
            return name.first == first && matches(pattern.dropFirst(), name.dropFirst())
        }
        let rest = pattern.dropFirst().drop { $0 == first }
        if rest.isEmpty { return true }
        return (name.startIndex...name.endIndex).contains { matches(rest, name[$0...]) }
    }
}

extension Substring {
    fileprivate var trimmed: String {
        var text = drop { $0 == " " }
        while text.last == " " { text = text.dropLast() }
        return String(text)
    }
}
