import DatasetStore
import Glibc
import KamlTestSupport
import ObjectStore
import System
import Testing

/// Random trees and random edits; every snapshot is compared with a model of what was written, and all
/// earlier ones must still read as they did.
@Suite struct CommitPropertyTests {
    private static let seeds: [UInt64] = [61, 62, 63, 64]

    private func randomBytes(_ random: inout SplitMix64) -> [UInt8] {
        let sizes = [0, 1, 47, 300, 4_096, 40_000, 900_000, 1 << 20, (1 << 20) + 1, 2_600_000]
        let size = sizes[Int(random.next() % UInt64(sizes.count))]
        switch random.next() % 4 {
        case 0: return random.bytes(size)
        case 1: return Array(repeating: 0, count: size)
        default: return random.text(size)
        }
    }

    private func edit(
        _ source: SourceFixture, _ model: inout [ByteString: [UInt8]], _ random: inout SplitMix64
    ) throws {
        let names = model.keys.sorted()
        switch names.isEmpty ? 0 : random.next() % 8 {
        case 0, 1:
            let endings = ["", ".txt", ".tar", ".so", ".tfrecord"]
            let name = ByteString(
                "d\(random.next() % 4)/n\(random.next() % 40)\(endings[Int(random.next() % 5)])")
            let bytes = randomBytes(&random)
            try source.write(name, bytes)
            model[name] = bytes
        case 2:
            let name = names[Int(random.next() % UInt64(names.count))]
            source.remove(name)
            model[name] = nil
        case 3:
            let from = names[Int(random.next() % UInt64(names.count))]
            let to = ByteString("d\(random.next() % 4)/moved\(random.next() % 20)")
            try source.rename(from, to)
            let bytes = model.removeValue(forKey: from)
            model[to] = bytes
        case 4:
            let name = names[Int(random.next() % UInt64(names.count))]
            let size = random.next() % 2_000_000
            try source.truncate(name, size)
            var bytes = model[name] ?? []
            if bytes.count > Int(size) { bytes.removeLast(bytes.count - Int(size)) }
            bytes += Array(repeating: 0, count: Int(size) - bytes.count)
            model[name] = bytes
        default:
            let name = names[Int(random.next() % UInt64(names.count))]
            var bytes = model[name] ?? []
            let offset = Int(random.next() % UInt64(bytes.count + 1))
            let patch = random.text(Int(random.next() % 500) + 1)
            try source.patch(name, at: UInt64(offset), patch)
            if bytes.count < offset + patch.count {
                bytes += Array(repeating: 0, count: offset + patch.count - bytes.count)
            }
            bytes.replaceSubrange(offset..<(offset + patch.count), with: patch)
            model[name] = bytes
        }
    }

    private func bytes(of snapshot: Snapshot, _ store: Store) throws -> [ByteString: [UInt8]] {
        try items(of: snapshot, in: store).filter { $0.value.mode & 0o170000 == 0o100000 }.mapValues(\.bytes)
    }

    @Test(arguments: seeds) func againstAModel(_ seed: UInt64) throws {
        let source = try SourceFixture()
        var random = SplitMix64(seed: seed)
        var model: [ByteString: [UInt8]] = [:]
        for directory in 0..<4 { try source.makeDirectory(ByteString("d\(directory)")) }
        var history: [(CommitResult, [ByteString: [UInt8]])] = []
        for step in 0..<8 {
            for _ in 0..<(step == 0 ? 30 : 6) { try edit(source, &model, &random) }
            let result = try source.commit { options in
                options.threads = Int(seed % 3) + 1
                options.verifiesFrames = seed.isMultiple(of: 2)
            }
            let read = try bytes(of: source.snapshot(result), source.store)
            #expect(read == model, "seed \(seed), step \(step)")
            history.append((result, model))
        }
        for (step, (result, model)) in history.enumerated() {
            #expect(
                try bytes(of: source.snapshot(result), source.store) == model,
                "seed \(seed), step \(step) later")
        }
    }

    @Test func memoryIsBoundedWhateverTheSize() throws {
        let source = try SourceFixture()
        let directory = try TemporaryDirectory()
        // A store on disk: one in memory would be what is measured.
        let store = try Store.create(at: FileObjectStore(directory.path))
        var random = SplitMix64(seed: 71)
        try source.write("huge.bin", [1])
        try source.truncate("huge.bin", 1 << 30)
        let block = random.bytes(16 << 20)
        for index in 0..<8 {
            var head = block
            head[0] = UInt8(index)
            for page in stride(from: 0, to: head.count, by: 1 << 19) { head[page] = UInt8(index) }
            try source.patch("huge.bin", at: UInt64(index) * (100 << 20) + 333, head)
        }
        let peak = Peak()
        let before = anonymousKilobytes()
        let result = try store.commit(
            source.options { options in
                options.threads = 2
                options.progress = { _ in peak.note(anonymousKilobytes()) }
            })
        #expect(result.bytes == 1 << 30)
        #expect(result.packBytes > 128 << 20)
        #expect(result.packBytes < 160 << 20)
        // Other tests run beside this one; what is caught is memory in proportion to the file.
        #expect(peak.value - before < 400_000)
    }
}

private final class Peak: Sendable {
    private let kilobytes = Monitor(0)
    func note(_ value: Int) { kilobytes.withLock { $0 = max($0, value) } }
    var value: Int { kilobytes.withLock { $0 } }
}

/// RssAnon of this process.
private func anonymousKilobytes() -> Int {
    guard let file = try? FileDescriptor.open("/proc/self/status", O_RDONLY) else { return 0 }
    var bytes = [UInt8](repeating: 0, count: 8_192)
    let count = (try? bytes.withUnsafeMutableBytes { try file.read(into: $0, at: 0) }) ?? 0
    for line in bytes[..<count].split(separator: UInt8(ascii: "\n")) where line.starts(with: "RssAnon:".utf8)
    {
        let digits = line.filter { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
        return Int(String(decoding: digits, as: UTF8.self)) ?? 0
    }
    return 0
}
