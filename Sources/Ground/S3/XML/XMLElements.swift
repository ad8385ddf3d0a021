/// Walks a document and tells its elements as they begin and end.
enum XMLElements {
    enum Step {
        case begins
        /// With the element's own text; that of an element with elements in it means nothing.
        case ends([UInt8])
    }

    /// `path`: the names from the root to the element. Returns the root's name.
    @discardableResult
    static func walk(
        _ bytes: [UInt8], _ body: (_ path: [String], Step) throws(XMLError) -> Void
    ) throws(XMLError) -> String {
        var scanner = try XMLScanner(bytes)
        var path: [String] = []
        var root = ""
        var text: [UInt8] = []
        while let event = try scanner.next() {
            switch event {
            case .start(let name):
                if path.isEmpty { root = name }
                path.append(name)
                text = []
                try body(path, .begins)
            case .text(let more):
                guard text.count + more.count <= XMLScanner.maximumTextBytes else {
                    throw XMLError("a text is too long")
                }
                text += more
            case .end:
                try body(path, .ends(text))
                path.removeLast()
                text = []
            }
        }
        return root
    }
}
