import DatasetStore
import Glibc
import KamlTestSupport
import ObjectStore
import Synchronization
import System
import Testing

@Suite struct CommitFaultTests {
    private static let requests: [StoreRequest] = [
        .size, .read, .create, .makeWriter, .append, .publish, .list,
    ]

    private func makeTree() throws -> SourceFixture {
        let source = try SourceFixture()
        var random = SplitMix64(seed: 41)
        try source.makeDirectory("d")
        for index in 0..<20 { try source.write(ByteString("d/f\(index)"), random.text(5_000)) }
        try source.write("large.bin", random.bytes(2_500_000))
        try source.write("large.txt", random.text(2_500_000))
        return source
    }

    private func options(_ source: SourceFixture) throws -> CommitOptions {
        try source.options { options in
            options.usesStatCache = false
            options.threads = 2
        }
    }

    /// Fails the n-th request of a kind, for all n: the log names nothing that is not whole, and the next
    /// commit ends well and stores no pack twice.
    @Test(arguments: requests)
    func everyRequestMayFail(_ request: StoreRequest) throws {
        let source = try makeTree()
        let expected = try items(of: source.root)
        var number = 1
        while true {
            let objects = MemoryObjectStore()
            _ = try Store.create(at: objects)
            let faulty = FaultyObjectStore(objects)
            let store = try Store.open(faulty)
            faulty.on(request, number, .fails(.inputOutput))
            let before = faulty.count(request)
            var failed = false
            do { _ = try store.commit(options(source)) } catch { failed = true }
            if faulty.count(request) - before < number { break }

            let clean = try Store.open(objects)
            let commits = try clean.state().commits
            #expect(failed ? commits.isEmpty : commits.count == 1, "request \(request) \(number)")
            let packs = try objects.list("packs/").count
            let result = try clean.commit(options(source))
            #expect(differences(expected, try items(of: clean.snapshot(result.snapshot), in: clean)) == [])
            // Whatever was published before the failure serves again: three packs are all there ever are.
            #expect(
                try objects.list("packs/").count == 3, "request \(request) \(number), \(packs) packs left")
            number += 1
        }
        #expect(number > 1)
    }

    @Test func aLostAnswerOfThePublicationIsHarmless() throws {
        let source = try makeTree()
        for number in 1...3 {
            let objects = MemoryObjectStore()
            _ = try Store.create(at: objects)
            let faulty = FaultyObjectStore(objects)
            faulty.on(.publish, number, .answerLost)
            let store = try Store.open(faulty)
            #expect(throws: StoreError.self) { try store.commit(options(source)) }
            let result = try store.commit(options(source))
            #expect(try objects.list("packs/").count == 3)
            #expect(
                differences(
                    try items(of: source.root), try items(of: store.snapshot(result.snapshot), in: store))
                    == [])
        }
    }

    @Test func aDamagedBaseIsNotUsed() throws {
        let source = try makeTree()
        let store = source.store
        try source.commit()
        for info in try source.objects.list("packs/") {
            var bytes = try source.objects.readAll(info.key, limit: 1 << 30)
            for index in stride(from: 40, to: 6_000, by: 97) { bytes[index] ^= 0xFF }
            try source.objects.delete(info.key)
            _ = try source.objects.createIfAbsent(info.key, bytes)
        }
        for index in 0..<20 { try source.patch(ByteString("d/f\(index)"), at: 100, Array("new".utf8)) }
        try source.patch("large.txt", at: 100, Array("new".utf8))
        let result = try source.commit()
        var reader = FileReader(store)
        let entry = try find("d/f0", in: store.snapshot(result.snapshot))
        #expect(try reader.bytes(of: entry) == items(of: source.root)["d/f0"]?.bytes)
    }

    @Test func damageIsToldWithItsPath() throws {
        let source = try makeTree()
        let result = try source.commit()
        for info in try source.objects.list("packs/") {
            var bytes = try source.objects.readAll(info.key, limit: 1 << 30)
            bytes[200] ^= 1
            try source.objects.delete(info.key)
            _ = try source.objects.createIfAbsent(info.key, bytes)
        }
        let entry = try find("d/f0", in: source.snapshot(result))
        var reader = FileReader(source.store)
        do {
            _ = try reader.bytes(of: entry)
            Issue.record("read damaged bytes")
        } catch {
            #expect(error.code == .damaged)
            #expect(error.path == "d/f0")
        }
    }
}

@Suite struct SourceChangeTests {
    @Test func aFileThatKeepsChangingIsReported() throws {
        let source = try SourceFixture()
        var random = SplitMix64(seed: 51)
        try source.write("busy.bin", random.bytes(64 << 20))
        let stop = Atomic(false)
        let path = source.path("busy.bin")
        let writer = try Thread(name: "writer") {
            guard let file = try? FileDescriptor.open(path, O_WRONLY) else { return }
            var value: UInt8 = 0
            while !stop.load(ordering: .relaxed) {
                value &+= 1
                _ = [value].withUnsafeBytes { try? file.write($0, at: 5) }
                usleep(500)
            }
        }
        let error = #expect(throws: StoreError.self) { try source.commit() }
        stop.store(true, ordering: .relaxed)
        writer.join()
        #expect(error?.code == .sourceChanged)
        #expect(error?.path == "busy.bin")
        #expect(try source.packCount == 0)
        let result = try source.commit()
        #expect(
            differences(try items(of: source.root), try items(of: source.snapshot(result), in: source.store))
                == [])
    }

    @Test func aFileThatChangesOnceIsReadAgain() throws {
        let source = try SourceFixture()
        var random = SplitMix64(seed: 52)
        try source.write("once.bin", random.bytes(24 << 20))
        let once = Once()
        let path = source.path("once.bin")
        let result = try source.commit { options in
            options.progress = { progress in
                guard progress.phase == .storing, progress.bytes > 0 else { return }
                once.run {
                    guard let file = try? FileDescriptor.open(path, O_WRONLY) else { return }
                    _ = [UInt8(1), 2].withUnsafeBytes { try? file.write($0, at: 77) }
                }
            }
        }
        #expect(result.changedWhileRead == 1)
        #expect(
            differences(try items(of: source.root), try items(of: source.snapshot(result), in: source.store))
                == [])
    }

    @Test func aFileThatChangesItsSizeAfterTheScan() throws {
        let source = try SourceFixture()
        var random = SplitMix64(seed: 53)
        try source.write("grows", random.text(1_000))
        try source.write("shrinks", random.text(2_000_000))
        let once = Once()
        let (grows, shrinks) = (source.path("grows"), source.path("shrinks"))
        let result = try source.commit { options in
            options.progress = { progress in
                guard progress.phase == .scanning, progress.entries > 0 else { return }
                once.run {
                    _ = try? FileDescriptor.open(grows, O_WRONLY).truncate(to: 3_000_000)
                    _ = try? FileDescriptor.open(shrinks, O_WRONLY).truncate(to: 10)
                }
            }
        }
        #expect(
            differences(try items(of: source.root), try items(of: source.snapshot(result), in: source.store))
                == [])
    }

    @Test func aFileReplacedByASymlinkIsNotFollowed() throws {
        let source = try SourceFixture()
        try source.makeDirectory("d")
        try source.write("d/file", [1, 2, 3])
        let once = Once()
        let error = #expect(throws: StoreError.self) {
            try source.commit { options in
                options.progress = { progress in
                    guard progress.phase == .scanning, progress.entries > 0 else { return }
                    once.run {
                        source.remove("d")
                        try? source.symlink("/etc", "d")
                    }
                }
            }
        }
        #expect(error?.code == .sourceChanged)
    }

    @Test("a replaced name's bytes are not given to the other names of the old file")
    func aNameOfSeveralIsReplaced() throws {
        for size in [100, 2_000_000] {
            let source = try SourceFixture()
            try source.write("a", [UInt8](repeating: 1, count: size))
            try source.link("a", "b")
            try source.write("new", [UInt8](repeating: 2, count: size))
            let once = Once()
            let error = #expect(throws: StoreError.self) {
                try source.commit { options in
                    options.progress = { progress in
                        guard progress.phase == .scanning, progress.entries > 0 else { return }
                        once.run { try? source.rename("new", "a") }
                    }
                }
            }
            #expect(error?.code == .sourceChanged)
        }
    }

    @Test func unreadableFilesAreNamedOrSkipped() throws {
        // Root reads everything; the rule is tested as somebody else where the tests run as root.
        guard getuid() != 0 else { return }
        let source = try SourceFixture()
        try source.write("secret", [1], mode: 0)
        try source.write("open", [2])
        let error = #expect(throws: StoreError.self) { try source.commit() }
        #expect(error?.path == "secret")
        let result = try source.commit { $0.skipsUnreadable = true }
        #expect(result.skippedUnreadable == 1)
        #expect(result.files == 1)
    }
}
