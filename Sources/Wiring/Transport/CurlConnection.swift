import CCurl
import HTTPExchange
import System

/// One pair of curl handles and, between exchanges, the one connection that it keeps open. Used by one thread at a
/// time; `wake` alone may be called from any.
@safe final class CurlConnection: @unchecked Sendable {
    // Sendable: whoever took it from the pool has it alone, and curl_multi_wakeup may be called from anywhere.
    let easy: UnsafeMutableRawPointer
    let multi: UnsafeMutableRawPointer

    private static let isReady = curl_global_init(Int(CURL_GLOBAL_DEFAULT)) == CURLE_OK

    /// Nil when curl cannot be set up: out of memory or descriptors.
    init?() {
        guard Self.isReady, let easy = unsafe curl_easy_init() else { return nil }
        guard let multi = unsafe curl_multi_init() else {
            unsafe curl_easy_cleanup(easy)
            return nil
        }
        unsafe (self.easy, self.multi) = (easy, multi)
        _ = unsafe kaml_curl_multi_set_long(multi, CURLMOPT_MAXCONNECTS, 1)
    }

    deinit {
        unsafe curl_easy_cleanup(easy)
        _ = unsafe curl_multi_cleanup(multi)
    }

    /// Ends a wait for the network at once, or the next one.
    func wake() { _ = unsafe curl_multi_wakeup(multi) }

    func set(_ option: CURLoption, _ value: Int) throws(CurlFailure) {
        try CurlFailure.check(unsafe kaml_curl_set_long(easy, option, value))
    }

    func set(_ option: CURLoption, size: Int) throws(CurlFailure) {
        try CurlFailure.check(unsafe kaml_curl_set_size(easy, option, curl_off_t(size)))
    }

    func set(_ option: CURLoption, _ value: String) throws(CurlFailure) {
        let code = unsafe value.withCString { value in unsafe kaml_curl_set_pointer(easy, option, value) }
        try CurlFailure.check(code)
    }

    /// `value` is not copied, except where it is nil.
    func set(_ option: CURLoption, _ value: UnsafeRawPointer?) throws(CurlFailure) {
        try CurlFailure.check(unsafe kaml_curl_set_pointer(easy, option, value))
    }
}
