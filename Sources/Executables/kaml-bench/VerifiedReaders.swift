import Glibc
import System

/// A buffer for the mount's bytes and one for the source's.
@safe struct ComparedBuffers: ~Copyable {
    let ours: UnsafeMutableRawBufferPointer
    let theirs: UnsafeMutableRawBufferPointer

    init(_ count: Int) {
        unsafe ours = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 4096)
        unsafe theirs = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 4096)
    }

    deinit {
        unsafe ours.deallocate()
        unsafe theirs.deallocate()
    }

    func areEqual(_ count: Int) -> Bool {
        guard let ours = unsafe ours.baseAddress, let theirs = unsafe theirs.baseAddress else {
            return count == 0
        }
        return unsafe memcmp(ours, theirs, count) == 0
    }

    /// Reads the same bytes from both, and tells of the first.
    func compare(_ mounted: Int32, _ source: Int32, at offset: Int, count: Int, _ outcome: LoadOutcome) {
        let start = HostClock().monotonicNanoseconds()
        let got = unsafe pread(mounted, ours.baseAddress, count, off_t(offset))
        let error = errno
        let waited = HostClock().monotonicNanoseconds() - start
        if got < 0 { return outcome.failed(error) }
        let wanted = unsafe pread(source, theirs.baseAddress, count, off_t(offset))
        outcome.read(nanoseconds: waited, isRight: got == wanted && areEqual(max(0, got)))
    }
}

/// The largest read: beyond the kernel's own readahead for one request.
private let largestRead = 256 << 10

/// Reads at random places through descriptors that stay open for the whole run.
struct FileReaderLoad {
    private let pairs: [FilePair]
    private var random: SplitMix

    init(_ pairs: [FilePair], seed: UInt64) {
        self.pairs = pairs
        random = SplitMix(seed)
    }

    func run(_ outcome: LoadOutcome) {
        var random = random
        let buffers = ComparedBuffers(largestRead)
        var files: [(mounted: Int32, source: Int32, size: Int)] = []
        for _ in 0..<min(32, pairs.count) {
            let pair = pairs[random.below(pairs.count)]
            let mounted = unsafe pair.mounted.withCString { unsafe open($0, O_RDONLY | O_CLOEXEC) }
            if mounted < 0 {
                outcome.failed(errno)
                continue
            }
            let source = unsafe pair.source.withCString { unsafe open($0, O_RDONLY | O_CLOEXEC) }
            files.append((mounted, source, pair.size))
        }
        while !outcome.isOver, !files.isEmpty {
            let file = files[random.below(files.count)]
            let offset = random.below(file.size)
            let count = 1 + random.below(largestRead)
            buffers.compare(file.mounted, file.source, at: offset, count: count, outcome)
            posix_fadvise(file.mounted, 0, 0, POSIX_FADV_DONTNEED)
        }
        for file in files {
            close(file.mounted)
            close(file.source)
        }
    }
}

/// Reads pages of files that stay mapped. A page that cannot be had ends the process with SIGBUS.
struct MappedReaderLoad {
    private let pairs: [FilePair]
    private let seed: UInt64

    init(_ pairs: [FilePair], seed: UInt64) {
        self.pairs = pairs
        self.seed = seed
    }

    func run(_ outcome: LoadOutcome) {
        var random = SplitMix(seed)
        let buffers = ComparedBuffers(4096)
        let pair = pairs.max { $0.size < $1.size } ?? pairs[0]
        let mounted = unsafe pair.mounted.withCString { unsafe open($0, O_RDONLY | O_CLOEXEC) }
        let source = unsafe pair.source.withCString { unsafe open($0, O_RDONLY | O_CLOEXEC) }
        let address = unsafe mmap(nil, pair.size, PROT_READ, MAP_SHARED, mounted, 0)
        guard mounted >= 0, let address = unsafe address, unsafe address != MAP_FAILED else {
            return outcome.failed(errno)
        }
        while !outcome.isOver {
            let page = random.below((pair.size + 4095) / 4096) * 4096
            let count = min(4096, pair.size - page)
            let start = HostClock().monotonicNanoseconds()
            unsafe buffers.ours.copyMemory(from: UnsafeRawBufferPointer(start: address + page, count: count))
            let waited = HostClock().monotonicNanoseconds() - start
            let wanted = unsafe pread(source, buffers.theirs.baseAddress, count, off_t(page))
            outcome.read(nanoseconds: waited, isRight: wanted == count && buffers.areEqual(count))
            unsafe madvise(address, pair.size, MADV_DONTNEED)
            posix_fadvise(mounted, 0, 0, POSIX_FADV_DONTNEED)
        }
        unsafe munmap(address, pair.size)
        close(mounted)
        close(source)
    }
}

/// Walks the mounted tree again and again, counts its files, and reads the head of each.
struct WalkerLoad {
    private let root: ByteString
    private let expected: [ByteString: FilePair]

    init(root: ByteString, expected: [FilePair]) {
        self.root = root
        self.expected = Dictionary(expected.map { ($0.mounted, $0) }) { first, _ in first }
    }

    func run(_ outcome: LoadOutcome) {
        let buffers = ComparedBuffers(16 << 10)
        while !outcome.isOver {
            var found = 0
            var pending = [root]
            while let directory = pending.popLast(), !outcome.isOver {
                do throws(Errno) { found += try visit(directory, &pending, buffers, outcome) } catch {
                    outcome.failed(error.rawValue)
                }
            }
            if pending.isEmpty, !outcome.isOver {
                outcome.walked(isComplete: found == expected.count)
            }
        }
    }

    private func visit(
        _ directory: ByteString, _ pending: inout [ByteString], _ buffers: borrowing ComparedBuffers,
        _ outcome: LoadOutcome
    ) throws(Errno) -> Int {
        let host = HostFileSystem()
        var found = 0
        for entry in try host.list(directory) {
            let path = directory.appending(entry.name)
            if try host.status(of: path).kind == .directory {
                pending.append(path)
            } else if let pair = expected[path] {
                found += 1
                let mounted = try FileDescriptor.open(path, O_RDONLY | O_NOFOLLOW)
                let source = try FileDescriptor.open(pair.source, O_RDONLY | O_NOFOLLOW)
                buffers.compare(mounted.rawValue, source.rawValue, at: 0, count: 16 << 10, outcome)
            }
        }
        return found
    }
}

/// Where to read next: quick, and the same in every run.
struct SplitMix {
    private var state: UInt64
    init(_ seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 }

    /// At least 0 and below `bound`, which is at least 1.
    mutating func below(_ bound: Int) -> Int {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return Int((mixed ^ (mixed >> 31)) % UInt64(max(1, bound)))
    }
}
