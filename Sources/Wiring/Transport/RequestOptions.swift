import CCurl
import HTTPExchange

/// A request in curl's terms: everything curl would do on its own is switched off, the rest is set for this request.
struct RequestOptions {
    private let request: HTTPRequest
    private let deadlines: HTTPDeadlines
    private let options: TransportOptions

    init(_ request: HTTPRequest, _ deadlines: HTTPDeadlines, _ options: TransportOptions) {
        self.request = request
        self.deadlines = deadlines
        self.options = options
    }

    /// Fields and body are curl's only during `body`.
    func apply<Result>(
        to connection: CurlConnection, _ body: () throws(HTTPError) -> Result
    ) throws(HTTPError) -> Result {
        var fields: UnsafeMutablePointer<curl_slist>?
        defer { unsafe curl_slist_free_all(fields) }
        do throws(CurlFailure) {
            unsafe fields = try fieldList()
            unsafe curl_easy_reset(connection.easy)
            try setTransport(connection)
            try setTrust(connection)
            try setProxy(connection)
            try connection.set(CURLOPT_URL, "\(request.origin)\(request.target)")
            try unsafe connection.set(CURLOPT_HTTPHEADER, UnsafeRawPointer(fields))
        } catch {
            throw error.error(request.origin, message: "", hasHead: false, options: options)
        }
        switch request.body {
        case .none:
            let none = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
            return try unsafe withMethod(on: connection, none, body)
        case .bytes(let bytes):
            return try unsafe bytes.withUnsafeBytes { bytes in
                Swift.Result { () throws(HTTPError) in try unsafe withMethod(on: connection, bytes, body) }
            }.get()
        case .borrowed(let bytes):
            return try unsafe withMethod(on: connection, bytes, body)
        }
    }

    private func setTransport(_ connection: CurlConnection) throws(CurlFailure) {
        try connection.set(CURLOPT_NOSIGNAL, 1)
        try connection.set(CURLOPT_NOPROGRESS, 1)
        try connection.set(CURLOPT_PROTOCOLS_STR, "http,https")
        try connection.set(CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1)
        try connection.set(CURLOPT_HTTP09_ALLOWED, 0)
        try connection.set(CURLOPT_FOLLOWLOCATION, 0)
        try connection.set(CURLOPT_NETRC, Int(CURL_NETRC_IGNORED.rawValue))
        try connection.set(CURLOPT_PATH_AS_IS, 1)
        try connection.set(CURLOPT_TCP_NODELAY, 1)
        try connection.set(CURLOPT_BUFFERSIZE, 512 << 10)
        try connection.set(CURLOPT_UPLOAD_BUFFERSIZE, 512 << 10)
        // Every new connection asks for the address anew, and an answer that never comes holds nobody.
        try connection.set(CURLOPT_DNS_CACHE_TIMEOUT, 0)
        try connection.set(CURLOPT_QUICK_EXIT, 1)
        try connection.set(
            CURLOPT_MAXAGE_CONN, Int(min(max(1, options.idleAge / 1_000_000_000), UInt64(Int32.max))))
        let connect = max(1, min(deadlines.connect, deadlines.total) / 1_000_000)
        // Beside our own deadline: curl gives each of several addresses its part of this time.
        try connection.set(
            CURLOPT_CONNECTTIMEOUT_MS,
            Int(min(connect, UInt64(Int32.max))))
    }

    private func setTrust(_ connection: CurlConnection) throws(CurlFailure) {
        try connection.set(CURLOPT_SSL_VERIFYPEER, 1)
        try connection.set(CURLOPT_SSL_VERIFYHOST, 2)
        try connection.set(CURLOPT_SSLVERSION, Int(CURL_SSLVERSION_TLSv1_2))
        guard let file = options.caFile else { return }
        try connection.set(CURLOPT_CAINFO, file)
        try unsafe connection.set(CURLOPT_CAPATH, nil)
    }

    private func setProxy(_ connection: CurlConnection) throws(CurlFailure) {
        try connection.set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1)
        try connection.set(CURLOPT_HEADEROPT, Int(CURLHEADER_SEPARATE))
        switch options.proxy {
        case .none:
            try connection.set(CURLOPT_PROXY, "")
        case .url(let url):
            // An empty list: `no_proxy` of the environment is not for a proxy that was named.
            try connection.set(CURLOPT_PROXY, request.origin.isLinkLocal ? "" : url)
            try connection.set(CURLOPT_NOPROXY, "")
        case .environment:
            if request.origin.isLinkLocal || request.origin.isLoopback {
                try connection.set(CURLOPT_PROXY, "")
            }
        }
    }

    private func withMethod<Result>(
        on connection: CurlConnection, _ bytes: UnsafeRawBufferPointer, _ body: () throws(HTTPError) -> Result
    ) throws(HTTPError) -> Result {
        do throws(CurlFailure) {
            switch request.method {
            case .head:
                try connection.set(CURLOPT_NOBODY, 1)
            case .get where unsafe bytes.isEmpty:
                try connection.set(CURLOPT_HTTPGET, 1)
            case .delete where unsafe bytes.isEmpty:
                try connection.set(CURLOPT_HTTPGET, 1)
                try connection.set(CURLOPT_CUSTOMREQUEST, "DELETE")
            case .get, .put, .post, .delete:
                // Sends straight from memory, with a length, whatever the method is called.
                try connection.set(CURLOPT_POST, 1)
                try connection.set(CURLOPT_POSTFIELDSIZE_LARGE, size: bytes.count)
                if let base = bytes.baseAddress, unsafe !bytes.isEmpty {
                    try unsafe connection.set(CURLOPT_POSTFIELDS, base)
                } else {
                    try connection.set(CURLOPT_COPYPOSTFIELDS, "")
                }
                try connection.set(CURLOPT_CUSTOMREQUEST, request.method.rawValue)
            }
        } catch {
            throw error.error(request.origin, message: "", hasHead: false, options: options)
        }
        return try body()
    }

    /// The fields as sent. A name without a value takes out what curl would add.
    private func fieldList() throws(CurlFailure) -> UnsafeMutablePointer<curl_slist>? {
        var lines = ["Host: \(request.origin.hostHeader)"]
        if let range = request.rangeValue { lines.append("Range: \(range)") }
        for field in request.fields {
            lines.append(field.value.isEmpty ? "\(field.name);" : "\(field.name): \(field.value)")
        }
        for name in ["accept", "content-type", "expect", "proxy-connection"]
        where !request.fields.contains(where: { $0.name == name }) {
            lines.append("\(name):")
        }
        var list: UnsafeMutablePointer<curl_slist>?
        for line in lines {
            guard let longer = unsafe line.withCString({ unsafe curl_slist_append(list, $0) }) else {
                unsafe curl_slist_free_all(list)
                throw CurlFailure(code: CURLE_OUT_OF_MEMORY)
            }
            unsafe list = longer
        }
        return unsafe list
    }
}

extension HTTPOrigin {
    /// Where clouds keep their credential services: 169.254/16 and fe80::/10, and fd00:ec2::/32.
    var isLinkLocal: Bool {
        host.hasPrefix("169.254.") || host.hasPrefix("fe80:") || host.hasPrefix("fd00:ec2:")
    }

    var isLoopback: Bool { host == "localhost" || host.hasPrefix("127.") || host == "::1" }
}
