import Chunking
import DatasetStore
import KamlTestSupport
import ObjectStore
import System
import Testing

/// A pack: frames in order, a footer that proves itself, and damage that is always noticed.
@Suite struct PackTests {
    let store = MemoryObjectStore()

    @Test("what was appended is found again by the footer, at slots of 4 KiB")
    func footerListsTheChunks() throws {
        var random = SplitMix64(seed: 1)
        let chunks = [1, 4095, 4096, 4097, 70_000].map { random.bytes($0) }
        let (pack, entries) = try Self.write(chunks, to: store)
        let object = try store.readAll(pack.key, limit: 1 << 20)
        try object.withUnsafeBytes { object throws in
            let footer = try Self.footer(object, pack)
            #expect(footer.chunkCount == chunks.count)
            for (index, chunk) in chunks.enumerated() {
                #expect(footer[index] == entries[index])
                #expect(footer[index].containerOffset.isMultiple(of: 4096))
                #expect(footer[index].hash == ContentHash.of(.chunk, chunk))
                #expect(footer.chunk(at: footer[index].containerOffset) == index)
                let frame = UnsafeRawBufferPointer(rebasing: object[Int(footer[index].frameOffset)...])
                let header = try #require(FrameHeader(frame))
                #expect(header.index == UInt32(index) && header.plainLength == UInt32(chunk.count))
            }
        }
    }

    @Test("a footer with any bit flipped, or cut short, is refused")
    func damagedFooter() throws {
        let (pack, _) = try Self.write([[1, 2, 3], [4, 5]], to: store)
        var object = try store.readAll(pack.key, limit: 1 << 20)
        let start = object.count - Int(pack.footerLength)
        for index in start..<object.count {
            for bit in 0..<8 {
                object[index] ^= 1 << UInt8(bit)
                #expect(throws: StoreError.self) {
                    try object.withUnsafeBytes { _ = try Self.footer($0, pack) }
                }
                object[index] ^= 1 << UInt8(bit)
            }
        }
        for length in 0..<Int(pack.footerLength) {
            object.withUnsafeBytes { object -> Void in
                let cut = UnsafeRawBufferPointer(rebasing: object[start..<(start + length)])
                #expect(throws: StoreError.self) { _ = try PackFooter(cut, of: pack) }
            }
        }
    }

    @Test("a footer that hashes well but lies about lengths is refused")
    func lyingFooter() throws {
        let (pack, _) = try Self.write([[1, 2, 3], [4, 5]], to: store)
        let object = try store.readAll(pack.key, limit: 1 << 20)
        let start = object.count - Int(pack.footerLength)
        let honest = Array(object[start..<(object.count - 48)])
        // Each field of the header and of the first chunk entry, set to all ones, with the hash made anew.
        for field in [12, 16, 20, 24, 32, 56, 64 + 32, 64 + 40, 64 + 48, 64 + 52, 64 + 56, 64 + 57, 64 + 60] {
            var body = honest
            for offset in 0..<4 { body[field + offset] = 0xFF }
            var lying = pack
            lying.footerHash = ContentHash.of(.packFooter, body)
            let bytes = body + lying.footerHash.bytes + Array(object[(object.count - 16)...])
            bytes.withUnsafeBytes { bytes -> Void in
                #expect(throws: StoreError.self, "field at \(field)") { _ = try PackFooter(bytes, of: lying) }
            }
        }
    }

    @Test("a footer in memory does not vouch for another reference to its pack")
    func footersOfOneID() throws {
        let (pack, entries) = try Self.write([[1, 2, 3], [4, 5]], to: store)
        for capacity in [0, 1 << 20] {
            let footers = PackFooters(store, capacity: capacity)
            #expect(try footers.with(pack) { $0[1] } == entries[1])
            var lie = pack
            lie.containerSize += 4096
            #expect(throws: StoreError.self) { try footers.with(lie) { $0.chunkCount } }
            #expect(try footers.with(pack) { $0[0] } == entries[0])
        }
    }

    @Test("a pack of small files whose frames a record cannot name is refused")
    func framesBeyond32Bits() throws {
        for layout in [PackLayout.slots, .file] {
            let (pack, _) = try Self.write([[1, 2, 3], [4, 5]], to: store, layout: layout)
            let object = try store.readAll(pack.key, limit: 1 << 20)
            var body = Array(object[(object.count - Int(pack.footerLength))..<(object.count - 48)])
            var far = pack
            far.objectSize = 5 << 30
            Self.set(&body, at: 32, far.objectSize - UInt64(pack.footerLength))
            Self.set(&body, at: 64 + 64 + 32, 4 << 30)
            far.footerHash = ContentHash.of(.packFooter, body)
            let bytes = body + far.footerHash.bytes + Array(object[(object.count - 16)...])
            bytes.withUnsafeBytes { bytes -> Void in
                #expect((try? PackFooter(bytes, of: far)) == nil ? layout == .slots : layout == .file)
            }
        }
    }

    static func set(_ bytes: inout [UInt8], at offset: Int, _ value: UInt64) {
        for index in 0..<8 { bytes[offset + index] = UInt8(truncatingIfNeeded: value >> UInt64(index * 8)) }
    }

    @Test("a pack beyond the format's limits is never published")
    func packBeyondLimits() throws {
        let empty = try PackWriter(id: PackID(random: HostRandom()), layout: .slots, in: store)
        #expect(throws: ObjectStoreError.self) { try empty.publish() }
        let huge = try PackWriter(id: PackID(random: HostRandom()), layout: .file, in: store)
        let byte: [UInt8] = [1]
        try byte.withUnsafeBytes { bytes in
            _ = try huge.append(
                EncodedChunk(
                    hash: ContentHash.of(.chunk, bytes), plainLength: 1, codec: .none, payload: bytes),
                fileOffset: 0)
        }
        #expect(throws: ObjectStoreError.self) { try huge.publish(fileSize: (16 << 30) + 1) }
        #expect(try store.list("").isEmpty)
    }

    static func write(
        _ chunks: [[UInt8]], to store: any ObjectStore, layout: PackLayout = .slots
    ) throws -> (PackReference, [ChunkEntry]) {
        let writer = try PackWriter(id: PackID(random: HostRandom()), layout: layout, in: store)
        var entries: [ChunkEntry] = []
        var offset: UInt64 = 0
        for chunk in chunks {
            try chunk.withUnsafeBytes { bytes in
                entries.append(
                    try writer.append(
                        EncodedChunk(
                            hash: ContentHash.of(.chunk, bytes), plainLength: bytes.count, codec: .none,
                            payload: bytes),
                        fileOffset: layout == .file ? offset : nil))
            }
            offset += UInt64(chunk.count)
        }
        return (try writer.publish(), entries)
    }

    static func footer(_ object: UnsafeRawBufferPointer, _ pack: PackReference) throws -> PackFooter {
        let start = object.count - Int(pack.footerLength)
        return try PackFooter(UnsafeRawBufferPointer(rebasing: object[start...]), of: pack)
    }
}
