import Glibc
import System
import Testing

/// A snapshot, mounted by a `kaml mount --foreground` of its own.
final class LabMount: Sendable {
    let path: ByteString
    let cache: ByteString
    let program: RunningProgram
    private let lab: Lab

    fileprivate init(_ lab: Lab, _ path: ByteString, _ cache: ByteString, _ program: RunningProgram) {
        self.lab = lab
        self.path = path
        self.cache = cache
        self.program = program
    }

    /// What the process had to say.
    var log: String { program.errors }

    func path(_ name: ByteString) -> ByteString { path.appending(name) }

    /// Unmounts; the process must end well.
    @discardableResult
    func unmount() throws -> Ended {
        try lab.kaml("umount", path)
        let ended = try program.wait(seconds: 20)
        guard ended.status == 0 else { throw Trouble("the mount ended with \(ended)") }
        return ended
    }

    /// kill -9, then takes the dead mount out of the tree.
    func crash() throws {
        program.kill()
        _ = try program.wait(seconds: 20)
        clear()
    }

    func clear() { _ = try? lab.run(["umount", "-l", "-q", path], seconds: 10) }
}

extension Lab {
    /// Mounts and waits until it answers. `tracer` are words before `kaml`, such as strace and its options.
    func mount(
        _ reference: ByteString = "data", at name: ByteString = "mount", cache: ByteString? = nil,
        _ options: [ByteString] = [], tracer: [ByteString] = []
    ) throws -> LabMount {
        let mount = try startMount(reference, at: name, cache: cache, options, tracer: tracer)
        guard try until(seconds: 30, { mount.log.contains("is mounted on") || mount.program.poll() != nil }),
            mount.program.poll() == nil
        else { throw Trouble("no mount: \(mount.log)") }
        return mount
    }

    func startMount(
        _ reference: ByteString = "data", at name: ByteString = "mount", cache: ByteString? = nil,
        _ options: [ByteString] = [], tracer: [ByteString] = []
    ) throws -> LabMount {
        let place = path(name)
        try? HostFileSystem().makeDirectory(place, mode: 0o755)
        willMount(place)
        let cache = cache ?? path("cache")
        let words: [ByteString] = ["kaml", "mount", reference, place, "--cache-dir", cache, "--foreground"]
        return LabMount(self, place, cache, try start(tracer + words + options))
    }

    /// A number of the cache's statistics, such as fetched_bytes.
    func cacheCounter(_ name: String, cache: ByteString? = nil) throws -> Int {
        let text = String(
            decoding: try readWhole((cache ?? path("cache")).appending("statistics")), as: UTF8.self)
        for line in text.split(separator: "\n") where line.hasPrefix(name + " ") {
            return Int(line.dropFirst(name.utf8.count + 1)) ?? -1
        }
        throw Trouble("no \(name) in \(text)")
    }
}
