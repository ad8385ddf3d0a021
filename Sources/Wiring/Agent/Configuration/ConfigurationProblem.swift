/// Something that is wrong with the configuration: where, and what to do.
package struct ConfigurationProblem: Error, Hashable, Sendable, CustomStringConvertible {
    /// `kamld.yaml:3:5`, the name of a variable, or a flag.
    package var place: String
    package var message: String

    package init(_ place: String, _ message: String) {
        self.place = place
        self.message = message
    }

    package var description: String { "\(place): \(message)" }
}

/// All that is wrong, in the order file, environment, flags.
package struct ConfigurationProblems: Error, Hashable, Sendable, CustomStringConvertible {
    package var list: [ConfigurationProblem]

    package init(_ list: [ConfigurationProblem]) { self.list = list }

    package var description: String { list.map(\.description).joined(separator: "\n") }
}

/// Why a text is no value of a setting.
struct ValueError: Error {
    var message: String

    init(_ message: String) { self.message = message }
}
