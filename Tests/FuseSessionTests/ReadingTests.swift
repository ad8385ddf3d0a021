import FuseMount
import FuseSession
import FuseTestSupport
import Glibc
import System
import Testing

extension Mounts {
    @Suite struct Reading {
        static let bytes = (0..<3_000_001).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 11) }

        @Test(arguments: [MountProfile.zeroMessageOpen, .passthrough])
        func `bytes are right at every offset and the file ends where it ends`(profile: MountProfile)
            async throws
        {
            let tree = MemoryTree()
            tree.file("file", Self.bytes)
            try await withMount(tree, profile) { mounted throws in
                let file = try openFile(mounted.path("file"))
                var buffer = [UInt8](repeating: 0, count: 300_000)
                let size = Self.bytes.count
                for offset in [
                    0, 1, 4095, 4096, 131_071, 1_048_576, size - 5000, size - 1, size, size + 10_000,
                ] {
                    for length in [1, 4096, 4097, 300_000] {
                        let count = try buffer.withUnsafeMutableBytes {
                            try file.read(
                                into: UnsafeMutableRawBufferPointer(rebasing: $0[..<length]),
                                at: UInt64(offset))
                        }
                        #expect(count == max(0, min(length, size - offset)))
                        let expected = Self.bytes[min(offset, size)..<min(offset + length, size)]
                        #expect(buffer[..<count].elementsEqual(expected), "\(length) bytes at \(offset)")
                    }
                }
                #expect(try contents(file) == Self.bytes)
            }
        }

        @Test func `a mapping shows the file`() async throws {
            let tree = MemoryTree()
            tree.file("file", Self.bytes)
            try await withMount(tree, .zeroMessageOpen) { mounted throws in
                let file = try openFile(mounted.path("file"))
                let region = try MappedRegion(file, length: Self.bytes.count)
                #expect(region.bytes.elementsEqual(Self.bytes))
            }
        }

        @Test func `zero-message open sends one OPEN and warm reads send nothing`() async throws {
            let tree = MemoryTree()
            for index in 0..<50 {
                tree.file(ByteString("f\(index)"), [UInt8](repeating: UInt8(index), count: 10_000))
            }
            try await withMount(tree, .zeroMessageOpen) { mounted throws in
                for index in 0..<50 {
                    #expect(try contents(mounted.path(ByteString("f\(index)"))).count == 10_000)
                }
                let cold = mounted.session.statistics()
                #expect(cold.opens == 1)
                #expect(cold.releases == 0)
                #expect(cold.readBytes == 500_000)
                for index in 0..<50 {
                    let bytes = try contents(mounted.path(ByteString("f\(index)")))
                    #expect(bytes == [UInt8](repeating: UInt8(index), count: 10_000))
                }
                let warm = mounted.session.statistics()
                #expect(warm.reads == cold.reads && warm.opens == 1 && warm.lookups == cold.lookups)
                #expect(mounted.tree.calls.isEmpty)
            }
        }

        @Test func `an answer may come later, from another thread`() async throws {
            let tree = MemoryTree()
            let file = tree.file("file", Self.bytes)
            tree.deferReads(of: file)
            try await withMount(tree, .zeroMessageOpen) { mounted throws in
                #expect(try contents(mounted.path("file")) == Self.bytes)
                let statistics = mounted.session.statistics()
                #expect(statistics.reads == statistics.readsAnswered)
                #expect(statistics.readBytes >= UInt64(Self.bytes.count))
            }
        }

        @Test(arguments: [100, 1000, 100_000])
        func `an answer may be in any number of pieces`(pieceBytes: Int) async throws {
            let tree = MemoryTree()
            tree.splitReads(of: tree.file("file", Self.bytes), every: pieceBytes)
            try await withMount(tree, .zeroMessageOpen) { mounted throws in
                try mounted.mounter.raiseReadAhead(toKiB: 4096)
                #expect(try contents(mounted.path("file")) == Self.bytes)
                // Some request was for more pieces than writev takes.
                let statistics = mounted.session.statistics()
                if pieceBytes == 100 { #expect(statistics.readBytes / statistics.reads > 102_300) }
            }
        }

        @Test func `a read error reaches the program and is not remembered`() async throws {
            let tree = MemoryTree()
            let file = tree.file("file", [1, 2, 3])
            tree.failReads(of: file, with: .inputOutput)
            try await withMount(tree, .zeroMessageOpen) { mounted throws in
                #expect(throws: Errno.inputOutput) { try contents(mounted.path("file")) }
                #expect(mounted.session.statistics().errors > 0)
                mounted.tree.failReads(of: file, with: nil)
                #expect(try contents(mounted.path("file")) == [1, 2, 3])
            }
        }

        @Test func `a mapping that lost its file answers EIO and the session lives`() async throws {
            let directory = try TemporaryDirectory()
            defer { directory.remove() }
            let descriptor = try directory.write("backing", [UInt8](repeating: 5, count: 100_000))
            let owned = FileDescriptor(owning: descriptor)
            let region = try MappedRegion(owned, length: 100_000)
            let tree = MemoryTree()
            tree.file("file", region.bytes)
            tree.file("fine", [9])
            try owned.truncate(to: 0)
            try await withMount(tree, .zeroMessageOpen, in: directory) { mounted throws in
                #expect(throws: Errno.inputOutput) { try contents(mounted.path("file")) }
                #expect(try contents(mounted.path("fine")) == [9])
            }
        }

        @Test func `several readers at once get their own bytes`() async throws {
            let tree = MemoryTree()
            let deferred = tree.file("deferred", Self.bytes)
            tree.deferReads(of: deferred)
            tree.file("file", Self.bytes)
            try await withMount(tree, .passthrough) { mounted throws in
                let script =
                    "for i in 1 2 3 4; do cat \(mounted.path("file")) | md5sum & cat \(mounted.path("deferred")) | md5sum & done; wait"
                let sums = try run(["sh", "-c", ByteString(script)]).output.split(separator: "\n")
                #expect(sums.count == 8 && Set(sums).count == 1)
            }
        }
    }
}
