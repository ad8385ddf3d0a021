import Glibc
import System

/// One call of a trace by `strace -ff -ttt -T -xx`, which writes strings as \\x escapes only.
struct TracedCall {
    let name: String
    /// When it took effect, in the order of all threads.
    fileprivate(set) var moment: Double
    /// Nil when it failed.
    let result: Int?
    private let arguments: [ArraySlice<UInt8>]

    /// Nil for a line that is no finished call. On bytes: as characters, megabytes of escapes take seconds.
    fileprivate init?(_ line: ArraySlice<UInt8>) {
        func last(_ character: Unicode.Scalar, before end: Int) -> Int? {
            line[..<end].lastIndex(of: UInt8(ascii: character))
        }
        guard let space = line.firstIndex(of: UInt8(ascii: " ")),
            let open = line.firstIndex(of: UInt8(ascii: "(")),
            let equals = last("=", before: line.endIndex), let close = last(")", before: equals),
            open < close,
            let start = Double(String(decoding: line[..<space], as: UTF8.self))
        else { return nil }
        name = String(decoding: line[(space + 1)..<open], as: UTF8.self)
        // No comma is inside of a string, since those are escapes.
        arguments = line[(open + 1)..<close].split(separator: UInt8(ascii: ",")).map { argument in
            argument.drop { $0 == UInt8(ascii: " ") }
        }
        let words = String(decoding: line[(equals + 1)...], as: UTF8.self).split(separator: " ")
        result = words.first.flatMap { Int($0) }.flatMap { $0 >= 0 ? $0 : nil }
        // A call is done at its end; but the number that a close gives back is free before that.
        let duration = words.last.flatMap { Double($0.drop { $0 == "<" }.prefix { $0 != ">" }) } ?? 0
        moment = name == "close" ? start : start + duration
    }

    func number(_ index: Int) -> Int? {
        index < arguments.count ? Int(String(decoding: arguments[index], as: UTF8.self)) : nil
    }

    func mentions(_ flag: String) -> Bool {
        arguments.contains {
            $0.first != UInt8(ascii: "\"") && String(decoding: $0, as: UTF8.self).contains(flag)
        }
    }

    /// A string argument: "\\x6b\\x61".
    func string(_ index: Int) -> ByteString? {
        guard index < arguments.count, arguments[index].first == UInt8(ascii: "\"") else { return nil }
        return arguments[index].withUnsafeBytes { argument in
            let count = (argument.lastIndex(of: UInt8(ascii: "\"")) ?? 1) / 4
            var bytes = [UInt8](repeating: 0, count: count)
            for at in 0..<count {
                bytes[at] = Self.digit(argument[at * 4 + 3]) << 4 | Self.digit(argument[at * 4 + 4])
            }
            return ByteString(bytes)
        }
    }

    private static func digit(_ unit: UInt8) -> UInt8 { unit >= 0x61 ? unit - 0x61 + 10 : unit - 0x30 }
}

extension Lab {
    /// Runs a program, possibly to be killed at a call, and gives the calls that it made, in their order.
    func trace(_ words: [ByteString], killedAt kill: (call: ByteString, number: Int)? = nil) throws
        -> [TracedCall]
    {
        let folder = path("trace")
        try shell("rm", "-rf", folder)
        try HostFileSystem().makeDirectory(folder, mode: 0o755)
        var options: [ByteString] = [
            "strace", "-ff", "-qq", "-ttt", "-T", "-xx", "-s", "10000000", "-o", folder.appending("of"), "-e",
            "trace=openat,close,write,pwrite64,ftruncate,fsync,fdatasync,mkdir,link,rename,unlink,rmdir",
        ]
        if let kill { options += ["-e", ByteString("inject=\(kill.call):signal=KILL:when=\(kill.number)")] }
        let ended = try run(options + words)
        guard ended.status == 0 || (kill != nil && ended.status == -SIGKILL) else {
            throw Trouble("\(ended)")
        }
        var calls: [TracedCall] = []
        // One file for each thread, so that no call is cut in two.
        for name in try names(folder) {
            var latest = 0.0
            for line in try readWhole(folder.appending(name)).split(separator: UInt8(ascii: "\n")) {
                guard var call = TracedCall(line) else { continue }
                // Times are rounded; within a thread the order is certain.
                latest = max(latest + 1e-7, call.moment)
                call.moment = latest
                calls.append(call)
            }
        }
        return calls.filter { $0.result != nil }.sorted { $0.moment < $1.moment }
    }
}
