import ArgumentParser
import Chunking
import DatasetStore
import KamlCommand
import ObjectStore
import System

/// `kaml ls`.
struct LsCommand: AnsweringCommand {
    static let configuration = CommandConfiguration(
        commandName: "ls", abstract: "List a directory of a snapshot.",
        discussion: """
              kaml ls imagenet
              kaml ls imagenet@v2:train/n01440764 -l
              kaml ls imagenet -R -o json
            """)

    @Argument(help: "DATASET[@REF][:PATH].", completion: NameCompletion.kind)
    var place: String
    @Flag(name: .shortAndLong, help: "Also show mode, links, owner, size and time.")
    var long = false
    @Flag(name: [.customShort("R"), .long], help: "Also list what is below, all levels.")
    var recursive = false
    @OptionGroup var store: StoreOptions
    @OptionGroup var output: OutputOptions

    func run() throws {
        let (snapshot, _, path) = try store.open().open(place)
        let entry = try snapshot.entry(at: path)
        guard entry.contents == .directory else {
            answer(EntriesReport([entry], isLong: long, isRecursive: true))
            return
        }
        guard recursive else {
            answer(EntriesReport(try snapshot.entries(of: entry), isLong: long, isRecursive: false))
            return
        }
        let stdout = StandardOutput()
        try EntriesReport.write(
            as: output.format, isLong: long,
            { body throws(StoreError) in
                try snapshot.walk(below: entry.keyPath) { view, index throws(StoreError) in
                    try body(view.entry(index))
                }
            }, to: { stdout.write($0) })
        stdout.flush()
    }
}

/// `kaml cat`.
struct CatCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cat", abstract: "Write files of a snapshot to stdout.",
        discussion: """
              kaml cat imagenet:labels.csv | head
              kaml cat imagenet@v2:a.bin imagenet@v2:b.bin > both.bin

            Every byte is verified before it is written. Symlinks are not followed.
            """)

    @Argument(
        help: "DATASET[@REF]:PATH; several are written one after the other.", completion: NameCompletion.kind)
    var places: [String]
    @OptionGroup var store: StoreOptions

    func run() throws {
        let store = try store.open()
        let output = StandardOutput()
        var reader = FileReader(store)
        let zeros = [UInt8](repeating: 0, count: 64 << 10)
        for place in places {
            let (snapshot, _, path) = try store.open(place)
            let entry = try snapshot.resolve(try snapshot.entry(at: path))
            try Self.check(entry, path)
            do throws(StoreError) {
                try reader.read(entry) { piece in
                    switch piece {
                    case .bytes(let bytes): unsafe output.write(bytes)
                    case .hole(var count):
                        while count > 0 {
                            let part = min(count, UInt64(zeros.count))
                            output.write(zeros[..<Int(part)])
                            count -= part
                        }
                    }
                }
            } catch { throw Failure(error.at(snapshot: snapshot.id.hex)) }
        }
        output.flush()
    }

    private static func check(_ entry: ManifestEntry, _ path: ByteString) throws {
        let shown = path.isEmpty ? "/" : path.description
        switch entry.contents {
        case .directory: throw Failure(.usage, "\(shown) is a directory", hint: "`kaml ls` lists it")
        case .symlink(let target):
            throw Failure(.usage, "\(shown) is a symlink to \(target)", hint: "name the file itself")
        case .empty, .chunk, .extents, .hardLink: return
        }
    }
}

/// `kaml stat`.
struct StatCommand: AnsweringCommand {
    static let configuration = CommandConfiguration(
        commandName: "stat", abstract: "Tell all about a snapshot, or about one path of it.",
        discussion: """
              kaml stat imagenet@v2
              kaml stat imagenet@v2:train/labels.csv -o json

            Of a file it tells the hash, the chunks, and in which packs they lie.
            """)

    @Argument(help: "DATASET[@REF][:PATH].", completion: NameCompletion.kind)
    var place: String
    @OptionGroup var store: StoreOptions
    @OptionGroup var output: OutputOptions

    func run() throws {
        let store = try store.open()
        let (snapshot, name, path) = try store.open(place)
        let entry = try snapshot.entry(at: path)
        if entry.name.isEmpty {
            answer(SnapshotReport(name, snapshot, root: entry))
            return
        }
        let footers = PackFooters(store)
        var shares: [StatReport.PackShare] = []
        var holes: UInt64 = 0
        switch try snapshot.resolve(entry).contents {
        case .chunk(let file):
            var share = StatReport.PackShare(file.pack, place: file.entry.containerOffset)
            share.add(file.entry)
            shares = [share]
        case .extents(_, let extents):
            for extent in extents {
                guard let source = extent.source else {
                    holes += extent.length
                    continue
                }
                var share = StatReport.PackShare(source.pack, place: source.containerOffset)
                do throws(StoreError) {
                    try footers.with(source.pack) { footer in
                        for chunk in source.firstChunk..<(source.firstChunk + source.chunkCount)
                        where Int(chunk) < footer.chunkCount {
                            share.add(footer[Int(chunk)])
                        }
                    }
                } catch { throw error.ofPromised }
                shares.append(share)
            }
        case .directory, .empty, .symlink, .hardLink: break
        }
        answer(StatReport(entry, shares: shares, holes: holes))
    }
}

extension StatReport.PackShare {
    mutating func add(_ entry: ChunkEntry) {
        chunks += 1
        bytes += UInt64(entry.plainLength)
        storedBytes += UInt64(entry.storedLength)
        if entry.codec == .zstdPrefix { prefixFrames += 1 }
    }
}
