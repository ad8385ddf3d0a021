import Chunking
import DatasetStore
import KamlTestSupport
import System
import Testing

@Suite struct PrefixFrameTests {
    /// Every chunk of every pack that a snapshot names, with its pack.
    private func chunks(_ snapshot: Snapshot, _ footers: PackFooters) throws -> [(PackReference, ChunkEntry)]
    {
        var found: [(PackReference, ChunkEntry)] = []
        for pack in snapshot.root.packs {
            let footer = try footers.image(of: pack).footer
            for index in 0..<footer.chunkCount { found.append((pack, footer[index])) }
        }
        return found
    }

    private func expectDepthOne(_ snapshot: Snapshot, _ store: Store) throws {
        let footers = PackFooters(store.objects)
        let named = Set(snapshot.root.packs.map(\.id))
        for (pack, chunk) in try chunks(snapshot, footers) {
            guard let base = chunk.base else { continue }
            let basePack = try #require(try footers.image(of: pack).footer.basePack(base.pack))
            let entry = try footers.image(of: basePack).footer[Int(base.chunk)]
            #expect(entry.codec != .zstdPrefix)
            _ = named
        }
    }

    @Test func smallFilesOverFiveGenerations() throws {
        let source = try SourceFixture()
        var random = SplitMix64(seed: 21)
        for index in 0..<30 { try source.write(ByteString("f\(index)"), random.text(20_000)) }
        let first = try source.commit()
        #expect(first.prefixFrames == 0)
        for generation in 0..<5 {
            for index in 0..<30 where index % 3 != generation % 3 {
                try source.patch(ByteString("f\(index)"), at: random.next() % 19_000, random.text(40))
            }
            let result = try source.commit()
            #expect(result.prefixFrames == 20)
            // Twenty files of 20 kB: a difference, its frame's header and its place in the footer.
            #expect(result.packBytes < 20 * (88 + 250) + 600)
            let snapshot = try source.snapshot(result)
            #expect(differences(try items(of: source.root), try items(of: snapshot, in: source.store)) == [])
            try expectDepthOne(snapshot, source.store)
        }
    }

    @Test func theSnapshotNamesThePacksOfBases() throws {
        let source = try SourceFixture()
        var random = SplitMix64(seed: 22)
        try source.write("a", random.text(30_000))
        let first = try source.snapshot(source.commit())
        try source.patch("a", at: 15_000, Array("difference".utf8))
        let second = try source.snapshot(source.commit())
        let bases = Set(first.root.packs.map(\.id))
        #expect(bases.isSubset(of: Set(second.root.packs.map(\.id))))
        #expect(second.root.packCount == 2)
        // A later commit that takes the file over names the base's pack still.
        try source.write("b", [1])
        let third = try source.snapshot(source.commit())
        #expect(bases.isSubset(of: Set(third.root.packs.map(\.id))))
        #expect(third.root.packCount == 3)
    }

    @Test(arguments: ["large.bin", "large.txt"] as [ByteString])
    func largeFilesOverFiveGenerations(_ name: ByteString) throws {
        let source = try SourceFixture()
        var random = SplitMix64(seed: 23)
        try source.write(name, random.text(8 << 20))
        try source.commit()
        for generation in 0..<5 {
            try source.patch(name, at: UInt64(generation) * 1_500_000 + 77, random.text(300))
            try source.patch(name, at: 4_000_000, random.text(20))
            let result = try source.commit()
            #expect(result.prefixFrames > 0)
            #expect(result.packBytes < 40_000)
            let snapshot = try source.snapshot(result)
            #expect(differences(try items(of: source.root), try items(of: snapshot, in: source.store)) == [])
            try expectDepthOne(snapshot, source.store)
        }
    }

    @Test func aMovedMiddleFindsItsBaseByContent() throws {
        let source = try SourceFixture()
        var random = SplitMix64(seed: 24)
        // Not text to the classifier, so FIXED, but compressible; each MiB of its own kind.
        var bytes: [UInt8] = [0x7F] + Array("ELF".utf8)
        for _ in 0..<1_200_000 {
            let word = random.next()
            bytes += [
                UInt8(word & 0x3F), 0, UInt8((word >> 8) & 0x0F), 0x48, 0x89, UInt8((word >> 16) & 0xFF), 0,
                1,
            ]
        }
        try source.write("library.so", bytes)
        let first = try source.commit()
        // Everything from the second MiB on moves by three and a half MiB.
        let moved = Array(bytes[..<1_000_000]) + random.bytes(3_700_003) + Array(bytes[1_000_000...])
        try source.write("library.so", moved)
        let second = try source.commit()
        #expect(second.prefixFrames >= 4)
        #expect(second.packBytes < first.packBytes / 3 * 2 + 3_800_000)
        let snapshot = try source.snapshot(second)
        #expect(differences(try items(of: source.root), try items(of: snapshot, in: source.store)) == [])
        try expectDepthOne(snapshot, source.store)
    }
}
