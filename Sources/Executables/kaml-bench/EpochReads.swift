import ArgumentParser
import DatasetStore
import Glibc
import NodeCache
import ObjectStore
import System

/// Hit ratios of shuffled epochs over more than the cache may hold: every file once an epoch, each time in another order,
/// out of a directory store, with no FUSE and no network. LRU over the same files is played beside it.
struct EpochReads: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "epochs",
        abstract: "Read a dataset in shuffled epochs through a cache that it does not fit into.")

    @Option(help: "Where store and cache are made, and removed in the end.") var directory: String
    @Option(help: "MiB of the dataset.") var size = 512
    @Option(help: "KiB of a file.") var file = 64
    @Option(help: "Times the dataset is larger than the cache may be.") var times = 2.0
    @Option(help: "Epochs to read.") var epochs = 3
    @Option(help: "What the orders follow from.") var seed: UInt64 = 1

    /// Bytes of a pack.
    private static let packBytes = 16 << 20

    func validate() throws {
        guard (16...(1 << 20)).contains(size), (4...1024).contains(file), (1...100).contains(times),
            (2...100).contains(epochs)
        else { throw ValidationError("a number is out of range") }
    }

    func run() throws {
        let home = ByteString(directory).appending(ByteString("epochs-\(getpid())"))
        let files = HostFileSystem()
        try files.makeDirectory(home, mode: 0o700)
        defer { ColdRead.remove(home, files) }
        let store = FileObjectStore(home.appending("store"))
        try store.createDirectory()
        let filesOfPack = Self.packBytes / (file << 10)
        let packs = try (0..<(size << 20) / Self.packBytes).map { try makePack($0, filesOfPack, in: store) }
        let limit = Int(Double(size << 20) / times)
        var options = CacheOptions()
        options.limits.bytes = UInt64(limit)
        let cache = try NodeCache(directory: home.appending("cache"), options: options) { print($0) }
        let tenant = cache.tenant(named: "dataset")
        var ratios: [Double] = []
        var lru: [Double] = []
        var random = Order(state: seed)
        var recent = Recent(capacity: limit / (file << 10))
        for _ in 0..<epochs {
            var (hits, recentHits) = (0, 0)
            let order = random.shuffled(packs.count * filesOfPack)
            for index in order {
                if recent.read(index) { recentHits += 1 }
                let (pack, chunk) = (packs[index / filesOfPack], index % filesOfPack)
                if try read(cache, try cache.container(for: pack, origin: store, tenant: tenant), chunk) {
                    hits += 1
                }
            }
            ratios.append(Double(hits) / Double(order.count))
            lru.append(Double(recentHits) / Double(order.count))
        }
        let (used, totals) = (cache.statistics().allocatedBytes, cache.totals)
        cache.close()
        print(
            #"{"hit_ratios": \#(ratios), "lru": \#(lru), "best": \#(1 / times), "limit_bytes": \#(limit), "#
                + #""used_bytes": \#(used), "evicted_containers": \#(totals.evictedContainers), "#
                + #""filled_bytes": \#(totals.filledBytes), "fetched_bytes": \#(totals.fetchedBytes)}"#)
    }

    /// Whether the file was at hand. Throws when its bytes cannot be had.
    private func read(_ cache: NodeCache, _ container: Container, _ chunk: Int) throws -> Bool {
        if container.enter() {
            defer { container.leave() }
            if container.isPresent(chunk) {
                container.touch()
                cache.didRead(container, chunk..<(chunk + 1))
                return true
            }
        }
        let answer = Monitor<Result<Void, CacheError>?>(nil)
        cache.fetch([FetchPart(container: container, chunks: chunk..<(chunk + 1))]) { result in
            answer.withLock { $0 = result.map { _ in () } }
            answer.wake()
        }
        try answer.wait { $0 }.get()
        return false
    }

    private func makePack(_ number: Int, _ count: Int, in store: any ObjectStore) throws -> PackReference {
        let writer = try PackWriter(id: PackID(random: HostRandom()), layout: .slots, in: store)
        var bytes = HostRandom().bytes(file << 10)
        for index in 0..<count {
            for position in 0..<8 {
                bytes[position] = UInt8(truncatingIfNeeded: (number * count + index) >> (8 * position))
            }
            try writer.appendPlain(bytes)
        }
        return try writer.publish()
    }
}

/// Shuffles that follow from a seed.
private struct Order: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        // SplitMix64.
        state &+= 0x9E37_79B9_7F4A_7C15
        var word = state
        word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
        word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
        return word ^ (word >> 31)
    }

    mutating func shuffled(_ count: Int) -> [Int] { Array(0..<count).shuffled(using: &self) }
}

/// What LRU over whole files would have had.
private struct Recent {
    let capacity: Int
    private var times: [Int: Int] = [:]
    private var line: [(file: Int, time: Int)] = []
    private var head = 0
    private var now = 0

    init(capacity: Int) { self.capacity = capacity }

    mutating func read(_ file: Int) -> Bool {
        now += 1
        let isHit = times[file] != nil
        times[file] = now
        line.append((file, now))
        while times.count > capacity, head < line.count {
            if times[line[head].file] == line[head].time { times[line[head].file] = nil }
            head += 1
        }
        return isHit
    }
}
