/// What S3 says in the body of a refusal. Other elements of it may hold parts of the request, and are not kept.
struct ErrorAnswer: Hashable {
    var code: String
    var message: String
    /// The region that the bucket is in, where the server says so.
    var region: String?
    var endpoint: String?

    /// Nil for a body that is no such answer: HTML of a proxy, or nothing.
    init?(_ bytes: [UInt8]) {
        var values: [String: String] = [:]
        let root = try? XMLElements.walk(bytes) { path, step throws(XMLError) in
            // STS wraps its Error in an ErrorResponse.
            guard case .ends(let text) = step, path.count >= 2, path[path.count - 2] == "Error",
                let name = path.last, ["Code", "Message", "Region", "Endpoint"].contains(name)
            else { return }
            values[name] = ShownText.of(text)
        }
        guard root == "Error" || root == "ErrorResponse", let code = values["Code"], !code.isEmpty else {
            return nil
        }
        self.code = code
        message = values["Message"] ?? ""
        region = values["Region"]
        endpoint = values["Endpoint"]
    }
}

/// Words of a server, made fit for a message.
enum ShownText {
    static let maximumBytes = 300

    /// Printable ASCII, in one line, without the semicolon that separates what to do in our messages.
    static func of(_ text: some Sequence<UInt8>) -> String {
        let bytes = text.prefix(maximumBytes).map { byte -> UInt8 in
            if byte == UInt8(ascii: ";") { return UInt8(ascii: ",") }
            return byte >= 0x20 && byte < 0x7F ? byte : UInt8(ascii: "?")
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

/// The few answers of which one element or none matters.
enum ElementAnswer {
    /// The text of an element in the root element, whatever that is called; nil when there is none.
    static func text(_ name: String, in bytes: [UInt8]) throws(XMLError) -> String? {
        var found: String?
        try XMLElements.walk(bytes) { here, step throws(XMLError) in
            guard case .ends(let text) = step, here.count == 2, here[1] == name else { return }
            found = String(decoding: text, as: UTF8.self)
        }
        return found
    }

    /// The text of the element at `path`; nil when there is none. Throws when the root has another name.
    static func text(_ path: [String], in bytes: [UInt8]) throws(XMLError) -> String? {
        var found: String?
        let root = try XMLElements.walk(bytes) { here, step throws(XMLError) in
            guard case .ends(let text) = step, here == path else { return }
            found = String(decoding: text, as: UTF8.self)
        }
        guard root == path.first else {
            throw XMLError("it is no \(path.first ?? "") but <\(ShownText.of(root.utf8))>")
        }
        return found
    }
}
