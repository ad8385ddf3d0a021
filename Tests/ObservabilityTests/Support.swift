import Glibc
import HTTPExchange
import HTTPTestSupport
import KamlTestSupport
import System
import Telemetry

@testable import Observability

let identity = {
    var identity = ServiceIdentity(name: "kamld", version: "0.4.0", instance: "pod-1", host: "host-1")
    identity.node = "node-1"
    return identity
}()

/// Polls until `condition` holds; whether it did within the seconds.
func eventually(seconds: Int = 20, _ condition: () throws -> Bool) rethrows -> Bool {
    let end = HostClock().monotonicNanoseconds() + UInt64(seconds) * 1_000_000_000
    while HostClock().monotonicNanoseconds() < end {
        if try condition() { return true }
        usleep(20_000)
    }
    return false
}

/// A pipe that is read to its end by a thread of its own.
final class ReadPipe: Sendable {
    let writing: Int32
    private let read = Monitor((bytes: [UInt8](), isOver: false))

    init() throws {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { throw Errno.last }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        writing = ends[1]
        let reading = ends[0]
        try Thread(name: "pipe") { [read] in
            var piece = [UInt8](repeating: 0, count: 65536)
            while true {
                let count = Glibc.read(reading, &piece, piece.count)
                if count <= 0 { break }
                read.withLock { $0.bytes += piece.prefix(count) }
            }
            close(reading)
            read.withLock { $0.isOver = true }
            read.wake()
        }.detach()
    }

    var text: String { String(decoding: read.withLock { $0.bytes }, as: UTF8.self) }

    /// All of it, once the writing end is closed.
    func finish() -> String {
        close(writing)
        return read.wait { $0.isOver ? String(decoding: $0.bytes, as: UTF8.self) : nil }
    }
}

/// Runs a program to its end and gives its output, standard error with it.
func output(of arguments: [String], input path: String = "/dev/null") throws -> (status: Int32, text: String)
{
    let pipe = try ReadPipe()
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, path, O_RDONLY, 0)
    posix_spawn_file_actions_adddup2(&actions, pipe.writing, 1)
    posix_spawn_file_actions_adddup2(&actions, pipe.writing, 2)
    let words = arguments.map { strdup($0) }
    defer { for word in words { free(word) } }
    var process = pid_t()
    let status = posix_spawnp(&process, arguments[0], &actions, nil, words + [nil], environ)
    guard status == 0 else {
        _ = pipe.finish()
        throw Errno(rawValue: status)
    }
    let text = pipe.finish()
    var ended: Int32 = 0
    while waitpid(process, &ended, 0) < 0 { if errno != EINTR { throw Errno.last } }
    return (ended >> 8 & 0xFF, text)
}

/// The repository's root, from this file's place in it.
let repository = #filePath.split(separator: "/").dropLast(3).reduce("") { $0 + "/" + $1 }
