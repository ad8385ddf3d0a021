import DatasetStore
import Glibc
import KamlTestSupport
import ObjectStore
import System
import Testing

@Suite struct CommitAgainTests {
    private func makeTree() throws -> SourceFixture {
        let source = try SourceFixture()
        var random = SplitMix64(seed: 11)
        for directory in 0..<5 {
            try source.makeDirectory(ByteString("d\(directory)"))
            for file in 0..<40 {
                try source.write(ByteString("d\(directory)/f\(file)"), random.text(200 + file * 90))
            }
        }
        try source.write("large.bin", random.bytes(3_500_000))
        try source.write("large.txt", random.text(2_500_000))
        try source.symlink("d0/f0", "symlink")
        try source.link("d0/f1", "d3/link")
        return source
    }

    private struct LaterClock: System.Clock {
        func now() -> Timestamp {
            let now = HostClock().now()
            return Timestamp(seconds: now.seconds + 60, nanoseconds: now.nanoseconds)
        }
        func monotonicNanoseconds() -> UInt64 { HostClock().monotonicNanoseconds() }
    }

    private func check(_ source: SourceFixture, _ result: CommitResult) throws {
        let read = try items(of: source.snapshot(result), in: source.store)
        #expect(differences(try items(of: source.root), read) == [])
    }

    @Test func nothingChangedReadsAndStoresNothing() throws {
        let source = try makeTree()
        let first = try source.commit { $0.clock = LaterClock() }
        let stored = try source.storedBytes
        let second = try source.commit { $0.clock = LaterClock() }
        #expect(second.snapshot == first.snapshot)
        #expect(second.sequence == nil)
        #expect(second.readFiles == 0)
        #expect(second.reusedFiles > 200)
        #expect(second.storedBytes == 0)
        #expect(try source.storedBytes == stored)
        #expect(second.statistics == first.statistics)
    }

    @Test func withoutTheStatCacheTheResultIsTheSame() throws {
        let source = try makeTree()
        let first = try source.commit { $0.usesStatCache = false }
        let stored = try source.storedBytes
        let second = try source.commit { $0.usesStatCache = false }
        #expect(second.readFiles > 200)
        #expect(second.snapshot == first.snapshot)
        #expect(second.nothingChanged)
        #expect(try source.storedBytes == stored)
    }

    @Test func contentOfAnEarlierSnapshotIsNotStoredAgain() throws {
        let source = try makeTree()
        var random = SplitMix64(seed: 12)
        let (a, b) = (random.bytes(3_000_000), random.bytes(3_000_000))
        for (content, newBytes) in [(a, UInt64(a.count)), (b, UInt64(b.count)), (a, 0), (b, 0)] {
            try source.write("turns.bin", content)
            let result = try source.commit()
            if newBytes == 0 { #expect(result.newBytes == 0) } else { #expect(result.newBytes >= newBytes) }
            try check(source, result)
        }
    }

    @Test func aFileChangedWithinTheMarginIsReadAgain() throws {
        let source = try makeTree()
        let first = try source.commit()
        let second = try source.commit()
        #expect(second.readFiles > 200)
        #expect(second.snapshot == first.snapshot)
    }

    @Test func aDamagedStatCacheIsIgnored() throws {
        let source = try makeTree()
        let first = try source.commit { $0.clock = LaterClock() }
        let caches = source.cache.path.appending("stat")
        for entry in try HostFileSystem().list(caches) {
            let file = try FileDescriptor.open(caches.appending(entry.name), O_RDWR)
            try [UInt8(0x55)].withUnsafeBytes { try file.write($0, at: 1_000) }
        }
        let second = try source.commit { $0.clock = LaterClock() }
        #expect(second.readFiles > 200)
        #expect(second.snapshot == first.snapshot)
    }

    @Test func oneChangedFileGrowsTheStoreALittle() throws {
        let source = try makeTree()
        try source.commit { $0.clock = LaterClock() }
        try source.patch("d2/f7", at: 10, Array("changed".utf8))
        let second = try source.commit { $0.clock = LaterClock() }
        #expect(second.readFiles == 1)
        #expect(second.packBytes < 1_500)
        #expect(second.storedBytes < 4_000)
        try check(source, second)
    }

    @Test func metadataAloneStoresNoData() throws {
        let source = try makeTree()
        let first = try source.commit { $0.clock = LaterClock() }
        _ = source.path("d1/f3").withCString { chmod($0, 0o600) }
        try setTime(source.path("large.bin"), seconds: 1_000, nanoseconds: 5)
        try setAttribute(source.path("d1"), "user.note", [1])
        let second = try source.commit { $0.clock = LaterClock() }
        #expect(second.packBytes == 0)
        #expect(second.snapshot != first.snapshot)
        try check(source, second)
    }

    @Test func movedFilesAreFoundAgain() throws {
        let source = try makeTree()
        try source.commit { $0.clock = LaterClock() }
        try source.rename("d2", "moved")
        try source.rename("large.bin", "moved/large.renamed")
        try source.rename("large.txt", "moved/other.txt")
        let second = try source.commit { $0.clock = LaterClock() }
        #expect(second.packBytes == 0)
        try check(source, second)
    }

    @Test func linksFollowTheirFirstName() throws {
        let source = try makeTree()
        try source.commit { $0.clock = LaterClock() }
        try source.link("d0/f1", "a-first")
        let second = try source.commit { $0.clock = LaterClock() }
        #expect(second.packBytes == 0)
        try check(source, second)
        source.remove("a-first")
        source.remove("d0/f1")
        let third = try source.commit { $0.clock = LaterClock() }
        #expect(third.packBytes == 0)
        try check(source, third)
    }

    @Test func removedAndAddedNames() throws {
        let source = try makeTree()
        try source.commit { $0.clock = LaterClock() }
        source.remove("d4")
        source.remove("d0/f9")
        try source.makeDirectory("d0/f9")
        try source.write("d0/f9/inside", [1, 2, 3])
        source.remove("symlink")
        try source.write("symlink", [9])
        try source.makeDirectory("zz")
        let second = try source.commit { $0.clock = LaterClock() }
        try check(source, second)
        #expect(second.readFiles == 2)
    }

    @Test func equalFilesAreStoredOnce() throws {
        let source = try SourceFixture()
        var random = SplitMix64(seed: 12)
        let small = random.bytes(50_000)
        let large = random.bytes(4_000_000)
        for index in 0..<6 {
            try source.write(ByteString("small\(index)"), small)
            try source.write(ByteString("large\(index).bin"), large)
        }
        let result = try source.commit()
        #expect(result.newBytes == 4_050_000)
        try check(source, result)
    }

    @Test func aNewBranchSharesTheDatasetsData() throws {
        let source = try makeTree()
        let first = try source.commit()
        let branch = try #require(RefName("dev"))
        let same = try source.commit { $0.branch = branch }
        #expect(same.snapshot == first.snapshot)
        #expect(same.sequence == 2)
        #expect(same.storedBytes == 0)
        try source.write("only-here", [1, 2, 3])
        let other = try #require(RefName("other"))
        let changed = try source.commit { $0.branch = other }
        #expect(changed.newBytes == 3)
        #expect(changed.sequence == 3)
        #expect(changed.parent == nil)
        try check(source, changed)
    }

    @Test func twoCommitsAtOnceConflict() throws {
        let source = try SourceFixture()
        try source.write("a", [1])
        try source.commit()
        try source.write("a", [2])
        let other = try source.options()
        let store = source.store
        // The other commit lands while this one stores its data.
        let once = Once()
        let error = #expect(throws: StoreError.self) {
            try source.commit { options in
                options.progress = { progress in
                    guard progress.phase == .publishing else { return }
                    once.run {
                        var second = other
                        second.usesStatCache = false
                        second.skipsUnreadable = true
                        _ = try? store.commit(second)
                    }
                }
                options.metadata = ["by": "first"]
                options.usesStatCache = false
                options.source = source.root
            }
        }
        // Both saw the same bytes, so the loser's snapshot is what the winner's is; the log must still refuse.
        #expect(error?.code == .conflict)
        #expect(error?.remedy?.contains("cheap") == true)
        let again = try source.commit()
        #expect(again.nothingChanged)
    }
}

/// Runs something once, from whichever thread comes first.
final class Once: @unchecked Sendable {
    private let done = Monitor(false)
    func run(_ body: () -> Void) {
        let first = done.withLock { done -> Bool in
            defer { done = true }
            return !done
        }
        if first { body() }
    }
}
