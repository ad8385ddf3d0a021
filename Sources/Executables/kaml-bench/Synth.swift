import ArgumentParser
import Chunking
import DatasetStore
import ObjectStore
import System

/// A snapshot of many made-up entries, with no file behind them: what metadata costs at scale.
enum SyntheticTree {
    static let filesInDirectory = 1000

    /// `dNNNNNN/dir/fileNNNNNNN.jpg`-like entries in sort order, given one by one.
    static func forEach(
        _ count: Int, pack: PackReference, _ body: (ManifestEntry) throws(StoreError) -> Void
    ) throws(StoreError) {
        let time = Timestamp(seconds: 1_700_000_000, nanoseconds: 0)
        let directories = max(1, count / filesInDirectory)
        func directory(_ name: ByteString) -> ManifestEntry {
            ManifestEntry(
                directory: "", name: name, mode: 0o040755, userID: 0, groupID: 0, modified: time, size: 0,
                contents: .directory)
        }
        try body(directory(""))
        for number in 0..<directories { try body(directory(directoryName(number))) }
        var hash: UInt64 = 1
        for number in 0..<directories {
            let parent = directoryName(number)
            for file in 0..<filesInDirectory {
                hash = hash &* 0x9E37_79B9_7F4A_7C15 &+ 1
                let entry = ChunkEntry(
                    hash: ContentHash(words: (hash, ~hash, hash &* 3, hash &* 5)),
                    frameOffset: 32 + UInt64(file) * 60_000, containerOffset: UInt64(file) * 65_536,
                    storedLength: 50_000,
                    plainLength: 60_000, codec: .zstd, base: nil)
                try body(
                    ManifestEntry(
                        directory: parent, name: fileName(file), mode: 0o100644, userID: 1000, groupID: 1000,
                        modified: time, size: 60_000,
                        contents: .chunk(.init(pack: pack, chunk: UInt32(file), entry: entry))))
            }
        }
    }

    static func directoryName(_ number: Int) -> ByteString { ByteString("class-" + padded(number, 6)) }
    static func fileName(_ number: Int) -> ByteString { ByteString("image_" + padded(number, 8) + ".jpeg") }

    private static func padded(_ number: Int, _ width: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }

    /// A pack that no store holds; entries need one to point into.
    static let pack = PackReference(
        id: PackID(high: 1, low: 2), footerHash: .zero, objectSize: 64 << 20, containerSize: 1 << 30,
        footerLength: 1 << 20, chunkCount: UInt32(filesInDirectory), layout: .slots)

    static func write(_ count: Int, to objects: any ObjectStore) throws -> ManifestWriter.Result {
        var writer = ManifestWriter(objects: ManifestObjects(store: objects), parent: nil, level: 1)
        try forEach(count, pack: pack) { entry throws(StoreError) in try writer.append(entry) }
        return try writer.finish()
    }
}

struct Synth: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "synth", abstract: "Write a store with a dataset `bench` of many made-up entries.")

    @Option(help: "How many files.") var entries = 10_000_000
    @Option(help: "The store's directory.") var store: String

    func run() throws {
        let clock = HostClock()
        let start = clock.monotonicNanoseconds()
        let objects = FileObjectStore(ByteString(store))
        try objects.createDirectory()
        let opened = try Store.create(at: objects)
        let result = try SyntheticTree.write(entries, to: objects)
        var state = try opened.state()
        guard let dataset = DatasetName("bench") else { throw ValidationError("not a dataset name") }
        let commit = Commit(
            dataset: dataset, branch: .main, snapshot: result.snapshot, parent: nil, message: "made up",
            metadata: [:],
            files: result.statistics.files, bytes: result.statistics.bytes, newBytes: 0,
            storedBytes: result.storedLength)
        _ = try opened.log.append(to: &state) { _ in .commit(commit) }
        let elapsed = Double(clock.monotonicNanoseconds() - start) / 1e9
        let path = "\(SyntheticTree.directoryName(0))/\(SyntheticTree.fileName(7))"
        print(
            #"{"dataset": "bench", "entries": \#(result.statistics.entries), "path": "\#(path)", "seconds": \#(elapsed)}"#
        )
    }
}
