import CCurl
import HTTPExchange
import System

/// One exchange over one connection, and what curl's callbacks need while it runs.
@safe final class CurlExchange {
    private enum End {
        case running
        /// The receiver, or a check, refused the answer.
        case failed(HTTPError)
        /// The receiver has enough.
        case stoppedEarly
    }

    private let request: HTTPRequest
    private let receiver: any HTTPReceiver
    private let connection: CurlConnection
    private let cancellation: HTTPCancellation?
    private let clock: any Clock

    private var reader = ResponseHeadReader()
    private var timer: ExchangeTimer
    private var end = End.running
    private var head: HTTPResponseHead?
    private var bodyBytes: UInt64 = 0
    private var hasMoved = false
    private var uploaded: Int = 0
    private let message: UnsafeMutablePointer<CChar>

    init(
        _ request: HTTPRequest, _ receiver: any HTTPReceiver, over connection: CurlConnection,
        deadlines: HTTPDeadlines, cancellation: HTTPCancellation?, clock: any Clock
    ) {
        self.request = request
        self.receiver = receiver
        self.connection = connection
        self.cancellation = cancellation
        self.clock = clock
        self.timer = ExchangeTimer(deadlines, start: clock.monotonicNanoseconds())
        unsafe message = .allocate(capacity: Int(CURL_ERROR_SIZE))
        unsafe message.initialize(repeating: 0, count: Int(CURL_ERROR_SIZE))
    }

    deinit { unsafe message.deallocate() }

    /// What an exchange left behind.
    struct Outcome {
        var head: HTTPResponseHead
        /// Whether the connection can serve another request.
        var isReusable: Bool
    }

    /// The options must be set; callbacks and body are set here.
    func run(options: TransportOptions) throws(HTTPError) -> Outcome {
        do {
            try setCallbacks()
        } catch {
            throw error.error(request.origin, message: "", hasHead: false, options: options)
        }
        guard unsafe curl_multi_add_handle(connection.multi, connection.easy) == CURLM_OK else {
            throw HTTPError(.unusable, request.origin, "libcurl did not take the request")
        }
        // Closes the connection where the exchange is not over.
        defer { _ = unsafe curl_multi_remove_handle(connection.multi, connection.easy) }
        let code = try drive()
        switch end {
        case .failed(let error): throw error
        case .stoppedEarly:
            if let head { return Outcome(head: head, isReusable: false) }
        case .running: break
        }
        if code != CURLE_OK {
            throw CurlFailure(code: code).error(
                request.origin, message: unsafe String(cString: message), hasHead: head != nil,
                options: options)
        }
        // For curl a head that is cut off is an answer without a body.
        guard let head else {
            throw HTTPError(
                .connectionLost, request.origin, "the connection was lost in the head of the answer")
        }
        try checkLength(head)
        return Outcome(head: head, isReusable: true)
    }

    private func setCallbacks() throws(CurlFailure) {
        let context = unsafe Unmanaged.passUnretained(self).toOpaque()
        try unsafe connection.set(CURLOPT_ERRORBUFFER, UnsafeRawPointer(message))
        try unsafe connection.set(CURLOPT_HEADERDATA, context)
        try unsafe connection.set(CURLOPT_WRITEDATA, context)
        try unsafe connection.set(CURLOPT_PREREQDATA, context)
        let easy = unsafe connection.easy
        try CurlFailure.check(
            unsafe kaml_curl_set_data_callback(
                easy, CURLOPT_HEADERFUNCTION, { unsafe CurlExchange.headerLine($0, $1, $2, $3) }))
        try CurlFailure.check(
            unsafe kaml_curl_set_data_callback(
                easy, CURLOPT_WRITEFUNCTION, { unsafe CurlExchange.bodyPiece($0, $1, $2, $3) }))
        try CurlFailure.check(
            unsafe kaml_curl_set_prereq_callback(
                easy, { context, _, _, _, _ in unsafe CurlExchange.willSend(context) }))
    }

    // MARK: The loop

    private func drive() throws(HTTPError) -> CURLcode {
        while true {
            if cancellation?.isCancelled == true {
                throw HTTPError(.cancelled, request.origin, "the exchange was cancelled")
            }
            var running: Int32 = 0
            guard unsafe curl_multi_perform(connection.multi, &running) == CURLM_OK else {
                throw HTTPError(.unusable, request.origin, "libcurl could not go on")
            }
            if running == 0 { return try result() }
            let now = clock.monotonicNanoseconds()
            observeMoves(now: now)
            switch timer.check(now: now) {
            case .expired(let phase, let limit):
                throw HTTPError(
                    .timedOut, request.origin, "\(phase.rawValue) within \(limit / 1_000_000) ms")
            case .wait(let until):
                // Rounded up, lest the last millisecond be spent spinning.
                let milliseconds = min((until - now) / 1_000_000 + 1, 60_000)
                guard
                    unsafe curl_multi_poll(connection.multi, nil, 0, Int32(milliseconds), nil) == CURLM_OK
                else { throw HTTPError(.unusable, request.origin, "libcurl could not wait") }
            }
        }
    }

    private func result() throws(HTTPError) -> CURLcode {
        var left: Int32 = 0
        while let message = unsafe curl_multi_info_read(connection.multi, &left) {
            if unsafe message.pointee.msg == CURLMSG_DONE { return unsafe message.pointee.data.result }
        }
        throw HTTPError(.unusable, request.origin, "libcurl lost the exchange")
    }

    private func observeMoves(now: UInt64) {
        if hasMoved {
            hasMoved = false
            timer.moved(now: now)
        }
        let size = request.body.count
        guard size > 0, uploaded < size else { return }
        var count: curl_off_t = 0
        guard unsafe kaml_curl_get_size(connection.easy, CURLINFO_SIZE_UPLOAD_T, &count) == CURLE_OK,
            Int(count) != uploaded
        else { return }
        uploaded = Int(count)
        timer.moved(now: now)
        if uploaded >= size { timer.sent(now: now) }
    }

    /// curl counts to `content-length`; a body without one is held to the range here.
    private func checkLength(_ head: HTTPResponseHead) throws(HTTPError) {
        guard let range = request.range, head.status == 206 else { return }
        guard bodyBytes == range.upperBound - range.lowerBound else {
            throw HTTPError(.connectionLost, request.origin, "the body ended after \(bodyBytes) bytes")
        }
    }

    // MARK: What curl calls

    private static func headerLine(
        _ bytes: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ context: UnsafeMutableRawPointer?
    ) -> Int {
        unsafe call(bytes, size, count, context) { exchange, bytes throws(HTTPError) in
            unsafe try exchange.take(line: bytes)
        }
    }

    private static func bodyPiece(
        _ bytes: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ context: UnsafeMutableRawPointer?
    ) -> Int {
        unsafe call(bytes, size, count, context) { exchange, bytes throws(HTTPError) in
            unsafe try exchange.take(body: bytes)
        }
    }

    private static func willSend(_ context: UnsafeMutableRawPointer?) -> Int32 {
        guard let context = unsafe context else { return CURL_PREREQFUNC_ABORT }
        unsafe Unmanaged<CurlExchange>.fromOpaque(context)._withUnsafeGuaranteedRef { exchange in
            exchange.timer.connected(
                isSent: exchange.request.body.count == 0, now: exchange.clock.monotonicNanoseconds())
        }
        return CURL_PREREQFUNC_OK
    }

    /// Returns what curl wants: the bytes taken, or fewer to stop it.
    private static func call(
        _ bytes: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ context: UnsafeMutableRawPointer?,
        _ body: (CurlExchange, UnsafeRawBufferPointer) throws(HTTPError) -> Bool
    ) -> Int {
        let (length, overflow) = size.multipliedReportingOverflow(by: count)
        guard let context = unsafe context, !overflow else { return 0 }
        if length == 0 { return 0 }
        let buffer = unsafe UnsafeRawBufferPointer(start: bytes, count: length)
        return unsafe Unmanaged<CurlExchange>.fromOpaque(context)._withUnsafeGuaranteedRef { exchange in
            do throws(HTTPError) {
                if unsafe try body(exchange, buffer) { return length }
                exchange.end = .stoppedEarly
            } catch {
                exchange.end = .failed(error)
            }
            return 0
        }
    }

    private func take(line: UnsafeRawBufferPointer) throws(HTTPError) -> Bool {
        let progress: ResponseHeadReader.Progress
        do {
            progress = unsafe try reader.read(line)
        } catch {
            throw HTTPError(.malformed, request.origin, "the answer breaks HTTP's rules: \(error.detail)")
        }
        if case .complete(let head) = progress {
            self.head = head
            try request.check(head)
            try receiver.receive(head)
            timer.headCame(now: clock.monotonicNanoseconds())
        }
        return true
    }

    private func take(body: UnsafeRawBufferPointer) throws(HTTPError) -> Bool {
        hasMoved = true
        bodyBytes += UInt64(body.count)
        if let range = request.range, head?.status == 206, bodyBytes > range.upperBound - range.lowerBound {
            throw HTTPError(.unexpected, request.origin, "the body is longer than the range", status: 206)
        }
        if cancellation?.isCancelled == true {
            throw HTTPError(.cancelled, request.origin, "the exchange was cancelled")
        }
        return unsafe try receiver.receive(body)
    }
}
