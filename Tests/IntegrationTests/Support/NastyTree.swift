import Glibc
import KamlTestSupport
import System

extension Lab {
    /// What file systems allow and programs stumble over.
    func makeNastyTree(seed: UInt64 = 7) throws {
        var random = SplitMix64(seed: seed)
        let files = HostFileSystem()
        func at(_ name: ByteString) -> ByteString { source.appending(name) }

        // Names of any bytes.
        let names: [ByteString] = [
            "caf\u{E9}", "cafe\u{301}", "line\nbreak", "back\\slash", "trailing ", " leading", "-rf", "*",
            "...", "\u{202E}rtl",
            ByteString([0x62, 0xFF, 0xFE]), ByteString([0x01]), ByteString([0x80]),
            ByteString((1...46).map { UInt8($0) }),
            ByteString([UInt8](repeating: 0x6E, count: 255)),
            ByteString([UInt8](repeating: 0xE9, count: 255)),
        ]
        try files.makeDirectory(at("names"), mode: 0o755)
        for name in names { try writeWhole(at("names").appending(name), name.bytes) }
        try files.makeDirectory(at(ByteString([0xC3, 0x28])), mode: 0o711)
        try writeWhole(at(ByteString([0xC3, 0x28])).appending("in a directory that is not UTF-8"), [1])

        // Deep, and empty, directories.
        var deep = at("deep")
        for _ in 0..<60 { deep = deep.appending(ByteString([UInt8](repeating: 0x64, count: 55))) }
        try files.makeDirectories(deep)
        try writeWhole(deep.appending("bottom"), Array("bottom".utf8))
        try files.makeDirectory(at("empty directory"), mode: 0o2775)

        // Links.
        let targets: [ByteString] = [
            "names", "/etc/passwd", "../../../../../etc", "nowhere", "loop", ".", "..", "/proc/self/fd/0",
            "x/",
            ByteString([0xFF, 0xFE]), ByteString([UInt8](repeating: 0x74, count: 1000)),
        ]
        try files.makeDirectory(at("links"), mode: 0o755)
        for (index, target) in targets.enumerated() {
            let path = at("links").appending(index == 4 ? "loop" : ByteString("\(index)"))
            let made = target.withCString { target in path.withCString { symlink(target, $0) } }
            guard made == 0 else { throw Errno.last }
        }
        try writeWhole(at("linked"), random.bytes(5000))
        for name in ["links/hard", "names/hard", "linked too"] as [ByteString] {
            try files.link(at("linked"), at(name))
        }

        // Sizes around every boundary, and one large enough for several chunks.
        try files.makeDirectory(at("sizes"), mode: 0o755)
        for size in [0, 1, 4095, 4096, 4097, 65_536, 131_073, 1_048_575, 1_048_576, 1_048_577] {
            try writeWhole(at(ByteString("sizes/\(size)")), random.bytes(size))
        }
        try writeWhole(at("large"), random.bytes(6_000_001))
        try writeWhole(at("large.txt"), (0..<120_000).flatMap { Array("line \($0) of a text\n".utf8) })
        try files.makeDirectory(at("many"), mode: 0o755)
        for index in 0..<600 { try writeWhole(at(ByteString("many/\(index)")), random.bytes(index % 97)) }
        try hole("sparse", size: 40 << 20, [(0, 5), (12_345_678, 9000), (40 << 20 - 3, 3)], &random)
        try hole("only a hole", size: 3_000_000, [], &random)

        // Attributes, modes, owners, times.
        for (index, mode) in [0o000, 0o400, 0o755, 0o777, 0o4755, 0o2755, 0o1644].enumerated() {
            let path = at(ByteString("mode-\(index)"))
            try writeWhole(path, [UInt8(index)])
            _ = path.withCString { chown($0, UInt32(index) * 1000, 4_294_967_290) }
            _ = path.withCString { chmod($0, mode_t(mode)) }
        }
        try setAttribute(at("linked"), "user.text", Array("value".utf8))
        try setAttribute(at("linked"), "user.empty", [])
        try setAttribute(at("links"), "user.bytes", Array(0...255))
        try setAttribute(
            at("large"), ByteString("user." + String(repeating: "n", count: 200)), random.bytes(1500))
        let moments = [
            (0, 0), (-1, 999_999_999), (-86_400 * 3650, 1), (1 << 32, 123_456_789), (1_700_000_000, 1),
        ]
        for (index, moment) in moments.enumerated() {
            let path = at(ByteString("time-\(index)"))
            try writeWhole(path, [1])
            let time = timespec(tv_sec: moment.0, tv_nsec: moment.1)
            let result = path.withCString { utimensat(AT_FDCWD, $0, [time, time], 0) }
            guard result == 0 else { throw Errno.last }
        }
    }

    private func hole(
        _ name: ByteString, size: UInt64, _ pieces: [(at: UInt64, count: Int)], _ random: inout SplitMix64
    ) throws {
        let file = try FileDescriptor.open(source.appending(name), O_WRONLY | O_CREAT, mode: 0o644)
        for piece in pieces {
            try random.bytes(piece.count).withUnsafeBytes { try file.write($0, at: piece.at) }
        }
        try file.truncate(to: size)
    }

    /// Starts readers of random places of random files, which end with 3 when a byte is not the source's, and with 4
    /// when a call fails otherwise than by the end of the mount. `reads` nil is without end.
    func startReaders(of mount: ByteString, count: Int, reads: Int?, seed: UInt64) throws -> [RunningProgram]
    {
        let script = """
            import errno, os, random, sys, time
            source, mount, seed, reads = os.fsencode(sys.argv[1]), os.fsencode(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
            choice = random.Random(seed)
            files = sorted(os.path.relpath(os.path.join(d, f), source) for d, _, fs in os.walk(source) for f in fs
                if not os.path.islink(os.path.join(d, f)))
            while reads != 0:
                reads -= 1
                name = choice.choice(files)
                want = os.open(os.path.join(source, name), os.O_RDONLY)
                size = os.fstat(want).st_size
                at, count = choice.randrange(size + 1), choice.choice((1, 4096, 70000, 1500000))
                try:
                    got = os.open(os.path.join(mount, name), os.O_RDONLY)
                    os.posix_fadvise(got, 0, 0, os.POSIX_FADV_DONTNEED)
                    found = b""
                    # A read during which the mount dies may end early with what it has: the next one tells.
                    while more := os.pread(got, count - len(found), at + len(found)): found += more
                    os.close(got)
                except OSError as error:
                    gone = (errno.ENOTCONN, errno.ECONNABORTED, errno.ENOENT, errno.ENODEV)
                    if error.errno in gone: sys.exit(0)
                    # EIO is also what the kernel answers to the call that it was handing over when the process died.
                    time.sleep(1)
                    try: os.stat(os.path.join(mount, name))
                    except OSError as later:
                        if error.errno == errno.EIO and later.errno in gone: sys.exit(0)
                    print(error, file=sys.stderr); sys.exit(4)
                right = os.pread(want, count, at)
                if found != right:
                    print("wrong bytes", name, at, count, len(found), len(right), file=sys.stderr); sys.exit(3)
                os.close(want)
            """
        return try (0..<count).map { index in
            try start([
                "python3", "-c", ByteString(script), source, mount, ByteString("\(seed &+ UInt64(index))"),
                ByteString("\(reads ?? -1)"),
            ])
        }
    }
}
