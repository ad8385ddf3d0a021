import System

/// One call of a trace by `strace -ff -ttt -xx`, which writes strings as \x escapes only.
struct TracedCall {
    let name: Substring
    /// The arguments as they stand there.
    let text: Substring
    let arguments: [Substring]
    /// Nil when it failed.
    let result: Int?

    /// Nil for a line that is no finished call.
    init?(_ line: Substring) {
        guard let open = line.firstIndex(of: "("), let equals = line.lastIndex(of: "="),
            let close = line[..<equals].lastIndex(of: ")"), open < close
        else { return nil }
        name = line[..<open]
        text = line[line.index(after: open)..<close]
        // No comma is inside of a string, since those are escapes.
        arguments = text.split(separator: ",").map { $0.drop { $0 == " " } }
        let words = line[line.index(after: equals)...].split(separator: " ")
        result = words.first.flatMap { Int($0) }.flatMap { $0 >= 0 ? $0 : nil }
    }

    func number(_ index: Int) -> Int? { index < arguments.count ? Int(arguments[index]) : nil }

    func string(_ index: Int) -> ByteString? {
        guard index < arguments.count, arguments[index].first == "\"" else { return nil }
        var bytes: [UInt8] = []
        var high: UInt8?
        // "\x6b\x61": the escapes' letters are skipped by place.
        var place = 0
        for unit in arguments[index].utf8.dropFirst() {
            if unit == UInt8(ascii: "\"") { break }
            if place % 4 >= 2 {
                guard let digit = Self.digit(unit) else { return nil }
                if let first = high {
                    bytes.append(first << 4 | digit)
                    high = nil
                } else {
                    high = digit
                }
            }
            place += 1
        }
        return ByteString(bytes)
    }

    private static func digit(_ unit: UInt8) -> UInt8? {
        switch unit {
        case 0x30...0x39: unit - 0x30
        case 0x61...0x66: unit - 0x61 + 10
        default: nil
        }
    }
}

extension Lab {
    /// Runs a program, possibly to be killed at a call, and gives the calls that it made, in their order.
    func trace(_ words: [ByteString], killedAt kill: (call: ByteString, number: Int)? = nil) throws -> [TracedCall] {
        let folder = path("trace")
        try shell("rm", "-rf", folder)
        try HostFileSystem().makeDirectory(folder, mode: 0o755)
        var options: [ByteString] = [
            "strace", "-ff", "-qq", "-ttt", "-xx", "-s", "10000000", "-o", folder.appending("of"), "-e",
            "trace=openat,close,write,pwrite64,ftruncate,fsync,fdatasync,mkdir,link,rename,unlink,rmdir",
        ]
        if let kill { options += ["-e", ByteString("inject=\(kill.call):signal=KILL:when=\(kill.number)")] }
        let ended = try run(options + words)
        guard ended.status == 0 || kill != nil else { throw Trouble("\(ended)") }
        var lines: [(time: Double, line: Substring)] = []
        // One file for each thread, so that no call is cut in two.
        for name in try names(folder) {
            for line in String(decoding: try readWhole(folder.appending(name)), as: UTF8.self).split(separator: "\n") {
                guard let space = line.firstIndex(of: " "), let time = Double(line[..<space]) else { continue }
                lines.append((time, line[line.index(after: space)...]))
            }
        }
        lines.sort { $0.time < $1.time }
        return lines.compactMap { TracedCall($0.line) }.filter { $0.result != nil }
    }
}
