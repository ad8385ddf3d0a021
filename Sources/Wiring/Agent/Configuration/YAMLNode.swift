/// A place in a file, counted from 1.
struct TextPlace: Hashable, Sendable {
    var line: Int
    var column: Int
}

/// A parsed YAML value with its place. Mappings keep every entry, also those whose key is there twice.
struct YAMLNode: Sendable {
    struct Entry: Sendable {
        var key: String
        var place: TextPlace
        var value: YAMLNode
    }

    enum Content: Sendable {
        /// Nothing, `~` or `null`.
        case empty
        case scalar(String)
        case sequence([YAMLNode])
        case mapping([Entry])
    }

    var place: TextPlace
    var content: Content

    /// What a person would call it.
    var kind: String {
        switch content {
        case .empty: "nothing"
        case .scalar: "a value"
        case .sequence: "a list"
        case .mapping: "a group of keys"
        }
    }
}

/// Why a text is no YAML that is accepted here.
struct YAMLError: Error, Sendable {
    var place: TextPlace
    var message: String
}
