/// Writes one object whose lists are too long to be held in memory, as its parts come.
///
/// What comes out is what `JSONText` and `YAMLText` make of the whole. Fields and lists must be given in the order of
/// their keys' bytes.
package struct ListedObject {
    private let format: OutputFormat
    private let write: (String) -> Void
    private var fields = 0
    /// Elements of the list that is open.
    private var elements = 0

    /// `format` is JSON or YAML: a table has no such shape.
    package init(_ format: OutputFormat, _ write: @escaping (String) -> Void) {
        self.format = format
        self.write = write
        if format == .json { write("{") }
    }

    package mutating func field(_ key: String, _ value: OutputValue) {
        switch format {
        case .json:
            begin(key)
            write(JSONText.nested(value, depth: 1))
        case .yaml, .table: write(YAMLText.encode(.object([key: value])))
        }
        fields += 1
    }

    package mutating func beginList(_ key: String) {
        elements = 0
        switch format {
        case .json:
            begin(key)
            write("[")
        case .yaml, .table: write(YAMLText.key(key))
        }
        fields += 1
    }

    package mutating func element(_ value: OutputValue) {
        switch format {
        case .json: write((elements == 0 ? "\n    " : ",\n    ") + JSONText.nested(value, depth: 2))
        case .yaml, .table: write((elements == 0 ? "\n" : "") + YAMLText.element(value))
        }
        elements += 1
    }

    package mutating func endList() {
        switch format {
        case .json: write(elements == 0 ? "]" : "\n  ]")
        case .yaml, .table: if elements == 0 { write(" []\n") }
        }
    }

    package mutating func end() {
        switch format {
        case .json: write(fields == 0 ? "}\n" : "\n}\n")
        case .yaml, .table: if fields == 0 { write("{}\n") }
        }
    }

    private func begin(_ key: String) {
        write((fields == 0 ? "\n  " : ",\n  ") + JSONText.quoted(key) + ": ")
    }
}
