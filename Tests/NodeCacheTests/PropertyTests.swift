import Chunking
import DatasetStore
import Glibc
import KamlTestSupport
import ObjectStore
import Synchronization
import System
import Testing

@testable import NodeCache

/// Random reads against a model, with random faults of the store and the disk, and lives that end in any way.
@Suite struct PropertyTests {
    @Test("whatever fails, bytes are right and present chunks stay right", arguments: 0..<6)
    func randomReads(_ round: Int) throws {
        let seed = SeededRandom.explorationSeed() &+ UInt64(round)
        var random = SplitMix64(seed: seed)
        func below(_ limit: Int) -> Int { Int(random.next() % UInt64(limit)) }
        let store = MemoryObjectStore()
        let base = try PackFixture.write(
            (0..<20).map { text(1 + below(20_000), seed: seed &+ UInt64($0)) },
            forms: (0..<20).map { _ in below(2) == 0 ? .zstd : .plain }, to: store)
        let changed = try PackFixture.write(
            base.chunks.map { edited($0.bytes, seed: seed) },
            forms: (0..<20).map { below(3) == 0 ? .zstd : .prefix(base, $0) }, to: store)
        let large = try PackFixture.random(
            (0..<70).map { _ in 1 + below(40_000) }, seed: seed, layout: .file, to: store)
        let fixtures = [base, changed, large]
        let home = try CacheFixture()
        var boot: UInt8 = 1
        for _ in 0..<8 {
            let files = FaultyFileSystem()
            let origin = FaultyObjectStore(store, seed: random.next(), rate: below(2) == 0 ? 0 : 0.1)
            var options = CacheOptions()
            options.bootID = Array(repeating: boot, count: 16)
            options.inlineFetches = below(3)
            options.fetchThreads = 1 + below(3)
            options.gapTolerance = below(2) * 30_000
            options.maximumRangeBytes = 1 << (12 + below(12))
            options.distrust = below(4) == 0
            let cache = try home.open(options, files: files)
            let containers = try fixtures.map { try cache.container(for: $0.pack, origin: origin) }
            let threadSeed = random.next()
            try inParallel(4) { thread in
                var random = SplitMix64(seed: threadSeed &+ UInt64(thread))
                for _ in 0..<60 {
                    let dice = random.next()
                    if dice % 17 == 0 { files.on(.write, 1 + Int(dice >> 32) % 5, .noSpace) }
                    if dice % 19 == 0 { files.on(.read, 1 + Int(dice >> 32) % 5, .inputOutput) }
                    if dice % 23 == 0 {
                        origin.on(.read, 1 + Int(dice >> 32) % 5, .flippedBit(Int(dice >> 40)))
                    }
                    let parts = (0..<(1 + Int(random.next() % 2))).map { _ in
                        let pack = Int(random.next() % 3)
                        let count = fixtures[pack].chunks.count
                        let low = Int(random.next() % UInt64(count))
                        return (pack, low..<min(count, low + 1 + Int(random.next() % 6)))
                    }
                    do throws(CacheError) {
                        let bytes = try cache.read(
                            parts.map { FetchPart(container: containers[$0.0], chunks: $0.1) })
                        let isRight = bytes == parts.flatMap { Array(fixtures[$0.0].chunks[$0.1]) }
                        #expect(isRight, "seed \(seed)")
                    } catch {
                        #expect(error.code == .unavailable, "seed \(seed): \(error)")
                    }
                }
            }
            for (container, fixture) in zip(containers, fixtures) {
                for chunk in fixture.chunks.indices where container.isPresent(chunk) {
                    #expect(container.mapped(fixture.entries[chunk]) == fixture.chunks[chunk], "seed \(seed)")
                }
            }
            cache.shutDown(markClean: below(2) == 0)
            if below(2) == 0 {
                boot += 1
                let victim = fixtures[below(3)]
                let entry = victim.entries[below(victim.entries.count)]
                // What a power cut may leave of a container that was not closed.
                if try !isClean(home, victim.pack) {
                    try CacheFixture.damage(home.dataPath(victim.pack), at: entry.containerOffset)
                }
            }
        }
    }

    private func isClean(_ home: CacheFixture, _ pack: PackReference) throws -> Bool {
        guard
            let bytes = try? readFile(home.mapPath(pack), limit: ContainerMap.headerLength, HostFileSystem())
        else {
            return false
        }
        return bytes.withUnsafeBytes { ContainerMap($0)?.isClean ?? false }
    }
}
