import Chunking
import DatasetStore
import Glibc
import KamlTestSupport
import ObjectStore
import System
import Testing

@testable import NodeCache

/// A process that is killed while it fills the cache: nothing it answered is lost, nothing is wrong.
@Suite(.serialized) struct KillTests {
    let home: CacheFixture
    let store: FileObjectStore
    let fixtures: [PackFixture]
    let storePath: String
    let helper: String

    init() throws {
        home = try CacheFixture()
        store = FileObjectStore(home.home.path.appending("store"))
        try store.createDirectory()
        let old = try PackFixture.write(
            (0..<12).map { text(5000, seed: UInt64($0)) }, forms: Array(repeating: .zstd, count: 12),
            to: store)
        let new = try PackFixture.write(
            old.chunks.map { edited($0.bytes, seed: 1) }, forms: (0..<12).map { .prefix(old, $0) }, to: store)
        let large = try PackFixture.random(
            Array(repeating: 50_000, count: 10), seed: 1, layout: .file, to: store)
        fixtures = [old, new, large]
        storePath = store.directory.description
        helper = (ChildProcess.productsDirectory() ?? "") + "/cache-fill-helper"
    }

    /// Looks at what a killed process left, and goes on from there.
    private func check(_ directory: ByteString, answered: String, keepsAll: Bool, _ note: String) throws {
        let cache = try home.open(in: directory)
        defer { cache.shutDown(markClean: false) }
        var present = Set<String>()
        for fixture in fixtures {
            let container = try cache.container(for: fixture.pack, origin: store)
            for chunk in fixture.chunks.indices where container.isPresent(chunk) {
                present.insert("\(fixture.pack.id) \(chunk)")
                let isRight = container.mapped(fixture.entries[chunk]) == fixture.chunks[chunk]
                #expect(isRight, "chunk \(chunk) of \(fixture.pack.id), \(note)")
            }
        }
        if keepsAll {
            for line in answered.split(separator: "\n") where line.contains(" ") && answered.hasSuffix("\n") {
                #expect(present.contains(String(line)), "\(note)")
            }
        }
        for fixture in fixtures {
            let container = try cache.container(for: fixture.pack, origin: store)
            let isRight = try cache.read(container, fixture.chunks.indices) == fixture.chunks
            #expect(isRight, "\(note)")
        }
    }

    @Test("killed at random moments", arguments: [1, 4])
    func randomMoments(threads: Int) throws {
        let seed = SeededRandom.explorationSeed()
        var random = SplitMix64(seed: seed)
        for round in 0..<25 {
            let directory = home.home.path.appending(ByteString("cache\(threads)-\(round)"))
            let child = try ChildProcess([
                helper, storePath, directory.description, "\(random.next() >> 1)", "\(threads)",
            ])
            usleep(UInt32(random.next() % 40_000))
            child.kill()
            let answered = child.finish().output
            // With several threads a word may be left to the one that writes just then.
            try check(directory, answered: answered, keepsAll: threads == 1, "round \(round), seed \(seed)")
            TemporaryDirectory.remove(directory)
        }
    }

    @Test(
        "killed at every call that changes the cache",
        arguments: ["pwrite64", "ftruncate", "openat", "rename", "mkdir", "unlink", "fsync"])
    func everyCall(call: String) throws {
        guard access("/usr/bin/strace", X_OK) == 0 else { return }
        for number in 1...400 {
            let directory = home.home.path.appending(ByteString("cache-\(call)-\(number)"))
            let child = try ChildProcess([
                "strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=\(call)", "-e",
                "inject=\(call):signal=KILL:when=\(number)", helper, storePath, directory.description, "7",
                "1",
            ])
            let (answered, status) = child.finish()
            // Exit status 0: the process made fewer calls than that.
            if status == 0 {
                TemporaryDirectory.remove(directory)
                return
            }
            try check(directory, answered: answered, keepsAll: true, "\(call) \(number)")
            TemporaryDirectory.remove(directory)
        }
        Issue.record("the helper never came to its end")
    }
}
