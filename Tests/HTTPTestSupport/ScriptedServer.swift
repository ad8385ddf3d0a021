import Glibc
package import HTTPExchange
import System

/// A TCP server on loopback that answers requests with what a script says, byte for byte, right or wrong.
package final class ScriptedServer: Sendable {
    package struct Request: Sendable {
        /// Which connection it came over, from 0.
        package var connection: Int
        /// Which request of that connection, from 0.
        package var number: Int
        package var method: String
        package var target: String
        /// Names in lower case, as they came.
        package var fields: [HTTPField]
        package var body: [UInt8]

        package subscript(_ name: String) -> String? { fields.first { $0.name == name }?.value }

        /// What the `range` field asks for.
        package var range: Range<Int>? {
            guard let ends = self["range"]?.dropFirst("bytes=".count).split(separator: "-"), ends.count == 2,
                let first = Int(ends[0]), let last = Int(ends[1])
            else { return nil }
            return first..<last + 1
        }
    }

    package enum Step: Sendable {
        case send([UInt8])
        case wait(milliseconds: Int)
        /// Until the client hangs up.
        case silence
        case reset
        case close

        package static func text(_ text: String) -> Step { .send(Array(text.utf8)) }

        /// A whole answer with its length.
        package static func answer(_ status: Int, _ body: [UInt8] = [], fields: [String] = []) -> Step {
            let lines = ["HTTP/1.1 \(status) Status", "Content-Length: \(body.count)"] + fields
            return .send(Array((lines.joined(separator: "\r\n") + "\r\n\r\n").utf8) + body)
        }

        /// 206 with these bytes of `whole`, as a good server says it.
        package static func part(_ range: Range<Int>, of whole: [UInt8], fields: [String] = []) -> Step {
            answer(
                206, Array(whole[range]),
                fields: ["Content-Range: bytes \(range.lowerBound)-\(range.upperBound - 1)/\(whole.count)"]
                    + fields)
        }
    }

    private struct State {
        var requests: [Request] = []
        var accepted = 0
        var open: Set<Int32> = []
        var isStopped = false
    }

    package let origin: HTTPOrigin
    private let listener: Int32
    private let state = Monitor(State())
    private let answer: @Sendable (Request) -> [Step]

    /// Listens on a free port. Stops with `stop`, which tests defer.
    package init(answer: @escaping @Sendable (Request) -> [Step]) throws {
        self.answer = answer
        (listener, origin) = try Self.listen(backlog: 256)
        let thread = try Thread(name: "scripted") { self.acceptAll() }
        thread.detach()
    }

    /// Connections taken so far.
    package var accepted: Int { state.withLock { $0.accepted } }
    package var requests: [Request] { state.withLock { $0.requests } }

    package func stop() {
        state.withLock { state in
            state.isStopped = true
            for socket in state.open { shutdown(socket, Int32(SHUT_RDWR)) }
        }
        shutdown(listener, Int32(SHUT_RDWR))
        state.wait { $0.open.isEmpty ? () : nil }
    }

    /// Hangs up on every connection, as servers do with idle ones.
    package func hangUp() {
        state.withLock { state in
            for socket in state.open { shutdown(socket, Int32(SHUT_RDWR)) }
        }
        state.wait { $0.open.isEmpty ? () : nil }
    }

    /// A listening socket on loopback and its origin.
    package static func listen(backlog: Int32) throws -> (Int32, HTTPOrigin) {
        let socket = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let port: UInt16? = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                guard bind(socket, pointer, length) == 0, Glibc.listen(socket, backlog) == 0,
                    getsockname(socket, pointer, &length) == 0
                else { return nil }
                return pointer.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
                    UInt16(bigEndian: $0.pointee.sin_port)
                }
            }
        }
        guard let port else { throw Errno.last }
        return (socket, HTTPOrigin(isSecure: false, host: "127.0.0.1", port: port))
    }

    private func acceptAll() {
        while true {
            let socket = accept(listener, nil, nil)
            if socket < 0 {
                if errno == EINTR || errno == ECONNABORTED { continue }
                close(listener)
                return
            }
            let number = state.withLock { state -> Int? in
                if state.isStopped { return nil }
                state.accepted += 1
                state.open.insert(socket)
                return state.accepted - 1
            }
            guard let number else {
                close(socket)
                continue
            }
            do {
                let thread = try Thread(name: "scripted-\(number)") { self.serve(socket, number: number) }
                thread.detach()
            } catch {
                finish(socket)
            }
        }
    }

    private func serve(_ socket: Int32, number: Int) {
        Connection(socket: socket, number: number).serve { request in
            state.withLock { $0.requests.append(request) }
            return answer(request)
        }
        finish(socket)
    }

    private func finish(_ socket: Int32) {
        state.withLock { state in
            state.open.remove(socket)
            close(socket)
        }
        state.wake()
    }
}

/// One connection of the server, on its own thread.
private struct Connection {
    let socket: Int32
    let number: Int
    private var input: [UInt8] = []

    init(socket: Int32, number: Int) {
        self.socket = socket
        self.number = number
        var on: Int32 = 1
        setsockopt(socket, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
    }

    consuming func serve(_ answer: (ScriptedServer.Request) -> [ScriptedServer.Step]) {
        var reader = self
        var count = 0
        while let request = reader.next(number: count) {
            count += 1
            for step in answer(request) where !reader.perform(step) { return }
        }
    }

    /// False when the connection is over.
    private func perform(_ step: ScriptedServer.Step) -> Bool {
        switch step {
        case .send(let bytes):
            var sent = 0
            while sent < bytes.count {
                let count = bytes[sent...].withUnsafeBytes {
                    Glibc.send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
                }
                if count <= 0 { return false }
                sent += count
            }
            return true
        case .wait(let milliseconds):
            usleep(UInt32(milliseconds) * 1000)
            return true
        case .silence:
            var byte: UInt8 = 0
            while recv(socket, &byte, 1, 0) > 0 {}
            return false
        case .reset:
            var option = linger(l_onoff: 1, l_linger: 0)
            setsockopt(socket, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
            return false
        case .close:
            return false
        }
    }

    private mutating func next(number count: Int) -> ScriptedServer.Request? {
        var end: Int?
        while end == nil {
            end = input.indices.dropLast(3).first { Array(input[$0..<$0 + 4]) == [13, 10, 13, 10] }
            if end == nil, !receive() { return nil }
        }
        guard let end else { return nil }
        let lines = String(decoding: input[..<end], as: UTF8.self).split(separator: "\r\n")
        input.removeSubrange(..<(end + 4))
        guard let first = lines.first?.split(separator: " "), first.count == 3 else { return nil }
        let fields = lines.dropFirst().map { line in
            let parts = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            return HTTPField(
                parts[0].lowercased(), parts.count == 2 ? String(parts[1].drop { $0 == " " }) : "")
        }
        var request = ScriptedServer.Request(
            connection: number, number: count, method: String(first[0]), target: String(first[1]),
            fields: fields,
            body: [])
        let length = request["content-length"].flatMap { Int($0) } ?? 0
        while input.count < length { if !receive() { return nil } }
        request.body = Array(input.prefix(length))
        input.removeFirst(length)
        return request
    }

    private mutating func receive() -> Bool {
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        let count = recv(socket, &buffer, buffer.count, 0)
        if count <= 0 { return false }
        input += buffer[..<count]
        return true
    }
}
