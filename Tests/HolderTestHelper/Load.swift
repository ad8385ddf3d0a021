import CXattr
import FuseTestSupport
import Glibc
import Synchronization
import System

/// Readers that compare every byte, and note every wait.
///
/// Eight read through descriptors that stay open or are opened anew, two through mappings, one walks the tree. Pages
/// are dropped after each look, so that the next one asks the server again.
enum Load {
    private static let isEnding = Atomic(false)
    private static let operations = Atomic<Int>(0)
    private static let errors = Atomic<Int>(0)
    private static let wrong = Atomic<Int>(0)
    private static let slow = Mutex<[(end: UInt64, microseconds: UInt64)]>([])
    private static let running = Atomic<Int>(0)

    static func run(_ root: String) {
        var signals = sigset_t()
        sigemptyset(&signals)
        sigaddset(&signals, SIGTERM)
        pthread_sigmask(SIG_BLOCK, &signals, nil)
        for seed in 0..<8 { start { reader(root, seed) } }
        for number in 0..<2 { start { mapper(root, number) } }
        start { walker(root) }
        say("loading")
        var signal: Int32 = 0
        while sigwait(&signals, &signal) != 0 {}
        isEnding.store(true, ordering: .relaxed)
        var waits = 0
        while running.load(ordering: .acquiring) > 0, waits < 1000 {
            usleep(10_000)
            waits += 1
        }
        let hung = running.load(ordering: .acquiring)
        for (end, microseconds) in slow.withLock({ $0 }) { say("slow \(end) \(microseconds)") }
        say(
            "operations \(operations.load(ordering: .relaxed)) errors \(errors.load(ordering: .relaxed)) wrong \(wrong.load(ordering: .relaxed)) hung \(hung)"
        )
        exit(0)
    }

    private static func start(_ body: @escaping @Sendable () -> Void) {
        running.add(1, ordering: .relaxed)
        do {
            try Thread(name: "load", stackBytes: 2 << 20) {
                while !isEnding.load(ordering: .relaxed) { body() }
                running.subtract(1, ordering: .releasing)
            }.detach()
        } catch {
            exit(3)
        }
    }

    private static func timed<Value>(_ body: () -> Value) -> Value {
        let clock = HostClock()
        let begin = clock.monotonicNanoseconds()
        let value = body()
        let end = clock.monotonicNanoseconds()
        operations.add(1, ordering: .relaxed)
        if end - begin > 3_000_000 { slow.withLock { $0.append((end, (end - begin) / 1000)) } }
        return value
    }

    private static func failed(_ what: String) {
        let code = errno
        errors.add(1, ordering: .relaxed)
        say("error: \(what): \(Errno(rawValue: code))")
    }

    /// Reads pieces of a large file, or a small file whole.
    private static func reader(_ root: String, _ seed: Int) {
        var random = SystemRandomNumberGenerator()
        let isLarge = seed < 6
        let (name, number): (String, Int) =
            if isLarge {
                (LoadedTree.large(seed % LoadedTree.largeFiles), seed % LoadedTree.largeFiles)
            } else {
                {
                    let directory = Int.random(in: 0..<LoadedTree.directories, using: &random)
                    let file = Int.random(in: 0..<LoadedTree.smallFiles, using: &random)
                    return (
                        LoadedTree.small(directory, file), LoadedTree.smallNumber(directory, file)
                    )
                }()
            }
        let descriptor = timed { open("\(root)/\(name)", O_RDONLY | O_CLOEXEC) }
        if descriptor < 0 { return failed("open of \(name)") }
        defer { timed { _ = close(descriptor) } }
        var buffer = [UInt8](repeating: 0, count: 128 << 10)
        // Two of the readers keep theirs open for long, past many a server.
        let reads = isLarge ? (seed < 2 ? 5000 : 40) : 1
        for _ in 0..<reads where !isEnding.load(ordering: .relaxed) {
            let size = isLarge ? LoadedTree.largeBytes : LoadedTree.smallBytes
            let length = isLarge ? Int.random(in: 1...16, using: &random) * 8192 : size
            let offset = isLarge ? Int.random(in: 0...(size - length) / 4096, using: &random) * 4096 : 0
            let count = buffer.withUnsafeMutableBytes { buffer in
                timed { pread(descriptor, buffer.baseAddress, length, off_t(offset)) }
            }
            if count < 0 { return failed("read of \(name)") }
            let bad = buffer.withUnsafeBytes {
                Pattern.firstWrong(UnsafeRawBufferPointer(rebasing: $0[..<count]), number, at: offset)
            }
            if count != length || bad != nil {
                wrong.add(1, ordering: .relaxed)
                say("wrong: \(name) at \(offset): \(count) of \(length), first at \(bad ?? -1)")
            }
            posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED)
        }
    }

    private static func mapper(_ root: String, _ number: Int) {
        let name = LoadedTree.large(number)
        let descriptor = timed { open("\(root)/\(name)", O_RDONLY | O_CLOEXEC) }
        if descriptor < 0 { return failed("open of \(name)") }
        let size = LoadedTree.largeBytes
        let address = mmap(nil, size, PROT_READ, MAP_SHARED, descriptor, 0)
        guard let address, address != MAP_FAILED else { return failed("mmap of \(name)") }
        for _ in 0..<2000 where !isEnding.load(ordering: .relaxed) {
            let offset = Int.random(in: 0..<size / 65536) * 65536
            let piece = UnsafeRawBufferPointer(start: address + offset, count: 65536)
            if let bad = timed({ Pattern.firstWrong(piece, number, at: offset) }) {
                wrong.add(1, ordering: .relaxed)
                say("wrong: mapping of \(name) at \(bad)")
            }
            madvise(address + offset, 65536, MADV_DONTNEED)
            posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED)
        }
        munmap(address, size)
        close(descriptor)
    }

    private static func walker(_ root: String) {
        for directory in 0..<LoadedTree.directories where !isEnding.load(ordering: .relaxed) {
            let path = "\(root)/dir\(directory)"
            guard let stream = timed({ opendir(path) }) else { return failed("opendir of \(path)") }
            var names = 0
            while let entry = timed({ readdir(stream) }) {
                names += entry.pointee.d_name.0 == CChar(bitPattern: UInt8(ascii: ".")) ? 0 : 1
            }
            closedir(stream)
            if names != LoadedTree.smallFiles {
                wrong.add(1, ordering: .relaxed)
                say("wrong: \(names) names in \(path)")
            }
            for number in 0..<LoadedTree.smallFiles {
                let file = "\(root)/\(LoadedTree.small(directory, number))"
                var status = stat()
                if timed({ stat(file, &status) }) < 0 { return failed("stat of \(file)") }
                if Int(status.st_size) != LoadedTree.smallBytes { wrong.add(1, ordering: .relaxed) }
                var value = [UInt8](repeating: 0, count: 16)
                let count = timed { getxattr(file, "user.kaml.number", &value, 16) }
                if count < 0 { return failed("getxattr of \(file)") }
                if String(decoding: value.prefix(count), as: UTF8.self) != "\(number)" {
                    wrong.add(1, ordering: .relaxed)
                }
            }
            var totals = statvfs()
            if timed({ statvfs(root, &totals) }) < 0 { return failed("statvfs") }
        }
    }
}
