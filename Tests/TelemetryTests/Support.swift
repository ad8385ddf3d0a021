import System

@testable import Telemetry

extension MetricsRegistry {
    func text(_ format: ExpositionFormat = .prometheusText) -> String {
        String(decoding: exposition(format), as: UTF8.self)
    }
}

/// A line of an exposition, read by the rules of the text format.
struct Sample: Hashable {
    var name: String
    var labels: [String: String]
    var value: String

    /// Nil for a line that breaks the rules.
    init?(_ line: Substring) {
        var rest = line
        name = String(rest.prefix { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_" || $0 == ":") })
        rest = rest.dropFirst(name.count)
        labels = [:]
        if rest.first == "{" {
            rest.removeFirst()
            while rest.first != "}" {
                let label = String(rest.prefix { $0.isLetter || $0 == "_" })
                rest = rest.dropFirst(label.count)
                guard rest.hasPrefix("=\""), labels[label] == nil else { return nil }
                rest = rest.dropFirst(2)
                var text = ""
                while let character = rest.popFirst(), character != "\"" {
                    guard character == "\\" else {
                        if character == "\n" { return nil }
                        text.append(character)
                        continue
                    }
                    switch rest.popFirst() {
                    case "n": text.append("\n")
                    case "\\": text.append("\\")
                    case "\"": text.append("\"")
                    default: return nil
                    }
                }
                labels[label] = text
                if rest.first == "," { rest.removeFirst() }
            }
            rest.removeFirst()
        }
        guard !name.isEmpty, rest.first == " ", let value = rest.dropFirst().split(separator: " ").first
        else {
            return nil
        }
        self.value = String(value)
    }
}

/// All samples of an exposition; nil for lines that break the rules.
func samples(_ text: String) -> [Sample?] {
    text.split(separator: "\n").filter { !$0.hasPrefix("#") }.map { Sample($0) }
}

func sample(_ text: String, _ name: String, _ labels: [String: String] = [:]) -> String? {
    samples(text).compactMap { $0 }.first { $0.name == name && $0.labels == labels }?.value
}
