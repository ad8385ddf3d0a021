import Chunking
import DatasetStore
import KamlTestSupport
import System
import Testing

@testable import DatasetFS

/// Records and extents that contradict the packs they name.
@Suite struct RecordTests {
    let fixture: FileSystemFixture

    init() throws { fixture = try FileSystemFixture() }

    @Test("a record that names another place for a chunk gets no bytes from there", arguments: [false, true])
    func misplacedRecord(isPresent: Bool) throws {
        let chunks = (0..<3).map { [UInt8](repeating: UInt8($0 + 1), count: 4096) }
        let (pack, entries) = try fixture.pack(chunks, layout: .slots)
        func contents(_ chunk: Int, _ entry: ChunkEntry) -> (Int, ManifestEntry.Contents) {
            (4096, .chunk(.init(pack: pack, chunk: UInt32(chunk), entry: entry)))
        }
        if isPresent {
            let good = try fixture.mount([contents(0, entries[0]), contents(1, entries[1])])
            for _ in 0..<2 {
                #expect(try good.read(2, 4096) == chunks[0])
                #expect(try good.read(3, 4096) == chunks[1])
            }
        }
        var wrong = entries[0]
        wrong.containerOffset = entries[1].containerOffset
        let bad = try fixture.mount([contents(0, wrong), contents(1, entries[1]), contents(2, entries[2])])
        for _ in 0..<2 {
            #expect(throws: Errno.inputOutput) { try bad.read(2, 4096) }
            #expect(try bad.read(3, 4096) == chunks[1])
            #expect(try bad.read(4, 4096) == chunks[2])
        }
        #expect(fixture.told.contains { $0.contains("file0") && $0.contains("contradicts") })
    }

    @Test("an imported small file that is there is read without a fetch")
    func warmReference() throws {
        let objects = (0..<3).map { [UInt8](repeating: UInt8($0 + 1), count: 4000) }
        let (pack, entries) = try fixture.references(objects)
        let files = try fixture.mount(
            entries.enumerated().map { index, entry in
                var listed = entry
                listed.object = nil
                return (
                    4000,
                    .chunk(
                        .init(
                            pack: pack, chunk: UInt32(index), entry: listed,
                            identity: ContentHash.of(.chunk, [])))
                )
            })
        for index in 0..<3 { #expect(try files.read(UInt64(index + 2), 4000) == objects[index]) }
        let place = try files.place(of: Inode(rawValue: 2))
        #expect(try files.vouchedContainer(place, 0) != nil)
        let reads = fixture.source.reads.count
        for index in 0..<3 { #expect(try files.read(UInt64(index + 2), 4000) == objects[index]) }
        #expect(fixture.source.reads.count == reads)
    }

    @Test("an extent that is no run of chunks is an error, never bytes from elsewhere or zeros")
    func misplacedExtents() throws {
        let chunks = (0..<4).map { [UInt8](repeating: UInt8($0 + 1), count: 5000) }
        let (pack, _) = try fixture.pack(chunks, layout: .slots)
        let good = try fixture.mount([(5000, .extents(hash: .zero, [.init(0, 5000, pack, 1..<2, at: 8192)]))])
        #expect(try good.read(2, 5000) == chunks[1])
        let bad = try fixture.mount([
            // Another chunk's place; a place between chunks; two chunks with a gap between them; a length too long.
            (5000, .extents(hash: .zero, [.init(0, 5000, pack, 0..<1, at: 8192)])),
            (2000, .extents(hash: .zero, [.init(0, 2000, pack, 0..<1, at: 5500)])),
            (10_000, .extents(hash: .zero, [.init(0, 10_000, pack, 0..<2, at: 0)])),
            (8192, .extents(hash: .zero, [.init(0, 8192, pack, 0..<1, at: 0)])),
            (5000, .extents(hash: .zero, [.init(0, 5000, pack, 2..<3, at: 16_384)])),
        ])
        for _ in 0..<2 {
            for inode: UInt64 in 2...5 {
                #expect(throws: Errno.inputOutput, "\(inode)") { try bad.read(inode, 10_000) }
            }
            #expect(try bad.read(6, 5000) == chunks[2])
        }
    }

    @Test("a file of holes and chunks, read at every offset")
    func holes() throws {
        var random = SplitMix64(seed: 9)
        let chunks = (0..<2).map { _ in random.bytes(4096) }
        let (pack, _) = try fixture.pack(chunks, layout: .file)
        let files = try fixture.mount([
            (
                16_384,
                .extents(
                    hash: .zero,
                    [
                        .init(hole: 0, 4096), .init(4096, 4096, pack, 1..<2), .init(hole: 8192, 4096),
                        .init(12_288, 4096, pack, 0..<1, at: 0),
                    ])
            )
        ])
        let zeros = [UInt8](repeating: 0, count: 4096)
        let expected = zeros + chunks[1] + zeros + chunks[0]
        for offset in stride(from: 0, to: 16_384, by: 1000) {
            #expect(try files.read(2, at: UInt64(offset), 20_000) == Array(expected[offset...]))
        }
        #expect(try files.read(2, at: 16_384, 10).isEmpty)
    }
}
