/// The methods that object stores and their credential services use.
package enum HTTPMethod: String, Hashable, Sendable {
    case get = "GET"
    case head = "HEAD"
    case put = "PUT"
    case post = "POST"
    case delete = "DELETE"

    package var isRepeatable: Bool {
        switch self {
        case .get, .head, .delete: true
        case .put, .post: false
        }
    }
}

/// Where a request goes: scheme, host and port, all checked.
package struct HTTPOrigin: Hashable, Sendable, CustomStringConvertible {
    package var isSecure: Bool
    /// Lower case; an IPv6 address without its brackets.
    package var host: String
    /// Nil for the scheme's own.
    package var port: UInt16?

    package init(isSecure: Bool, host: String, port: UInt16? = nil) {
        self.isSecure = isSecure
        self.host = host
        self.port = port
    }

    /// What the `Host` header says: the port only when it is not the scheme's own.
    package var hostHeader: String {
        let name = host.utf8.contains(UInt8(ascii: ":")) ? "[\(host)]" : host
        guard let port, port != (isSecure ? 443 : 80) else { return name }
        return "\(name):\(port)"
    }

    package var description: String { (isSecure ? "https://" : "http://") + hostHeader }
}

package struct HTTPField: Hashable, Sendable {
    /// Lower case.
    package var name: String
    package var value: String

    package init(_ name: String, _ value: String) {
        self.name = name
        self.value = value
    }
}

/// One request. A value: retrying, hedging and going on in the middle of a body make new ones of it.
///
/// Its description leaves out fields, query and body: those may hold secrets.
package struct HTTPRequest: Sendable, CustomStringConvertible, CustomReflectable {
    package var method: HTTPMethod
    package var origin: HTTPOrigin
    /// Path and query exactly as they are sent and signed, percent-encoded, starting with `/`.
    package var target: String
    /// Neither `host` nor `content-length` nor `range`: those follow from the request.
    package var fields: [HTTPField]
    /// Bytes of the resource that are wanted, sent as a `range` header: a client must answer exactly these or fail.
    package var range: Range<UInt64>?
    package var body: HTTPBody
    /// Whether sending it twice does no more than sending it once, so that a lost answer may be asked for again.
    package var isRepeatable: Bool
    package var priority: HTTPPriority

    /// `isRepeatable` is nil for the method's own: GET, HEAD and DELETE are repeatable.
    package init(
        _ method: HTTPMethod, _ origin: HTTPOrigin, _ target: String, fields: [HTTPField] = [],
        range: Range<UInt64>? = nil, body: HTTPBody = .none, isRepeatable: Bool? = nil,
        priority: HTTPPriority = .bulk
    ) {
        self.method = method
        self.origin = origin
        self.target = target
        self.fields = fields
        self.range = range
        self.body = body
        self.isRepeatable = isRepeatable ?? method.isRepeatable
        self.priority = priority
    }

    package var description: String { "\(method.rawValue) \(origin)\(target.prefix { $0 != "?" })" }

    package var customMirror: Mirror { Mirror(self, children: [:]) }

    /// What the `range` header says; for signers, which sign it. Nil without a range, or with an empty one.
    package var rangeValue: String? {
        guard let range, !range.isEmpty else { return nil }
        return "bytes=\(range.lowerBound)-\(range.upperBound - 1)"
    }
}

/// Which of the requests that wait for their turn goes first.
package enum HTTPPriority: Hashable, Sendable {
    /// Somebody waits for exactly these bytes.
    case urgent
    /// Read ahead, copied, listed.
    case bulk
}

/// What a request carries.
@safe package enum HTTPBody: @unchecked Sendable {
    // Sendable: borrowed memory is only read, and its owner keeps it until the exchange has returned.
    case none
    case bytes([UInt8])
    /// Memory that stays valid until the exchange returns.
    case borrowed(UnsafeRawBufferPointer)

    package var count: Int {
        switch self {
        case .none: 0
        case .bytes(let bytes): bytes.count
        case .borrowed(let bytes): bytes.count
        }
    }
}

/// Status and headers of an answer, bounded: at most 128 fields and 64 KiB.
package struct HTTPResponseHead: Hashable, Sendable {
    package var status: Int
    package var fields: [HTTPField]

    package init(status: Int, fields: [HTTPField]) {
        self.status = status
        self.fields = fields
    }

    /// The first field of this name, which is given in lower case.
    package subscript(_ name: String) -> String? { fields.first { $0.name == name }?.value }
}
