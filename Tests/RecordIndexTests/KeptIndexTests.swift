import Chunking
import DatasetStore
import Glibc
import KamlTestSupport
import Synchronization
import System
import Testing

@testable import RecordIndex

@Suite struct KeptIndexTests {
    private func fixture(files: Int) throws -> DatasetFixture {
        let fixture = try DatasetFixture()
        for file in 0..<files {
            try fixture.write(
                ByteString("\(file).tfrecord"),
                randomRecords(20 + file, longest: 100, seed: UInt64(file)).flatMap(frame))
        }
        return fixture
    }

    /// Waits for an index, and tells which files were read for it.
    private func readFiles(_ fixture: DatasetFixture, _ snapshot: Snapshot) throws -> Set<ByteString> {
        let bytes = fixture.bytes(of: snapshot)
        let build = fixture.indexes().begin(snapshot, try RecordSelection(), bytes)
        _ = try #require(build.wait(milliseconds: nil)).get()
        return bytes.reads.paths
    }

    @Test("an index is made once, and a new version is read only where it differs")
    func reuse() throws {
        let fixture = try fixture(files: 5)
        let first = try fixture.commit()
        #expect(try readFiles(fixture, first).count == 5)
        #expect(try readFiles(fixture, first).isEmpty)
        try fixture.write("2.tfrecord", frame([1, 2, 3]))
        try fixture.write("new.tfrecord", frame([4]))
        let second = try fixture.commit()
        #expect(try readFiles(fixture, second) == ["2.tfrecord", "new.tfrecord"])
        let kept = try fixture.index(second)
        #expect(kept.records == UInt64(20 + 21 + 1 + 23 + 24 + 1))
        let values = try fixture.values(kept, second)
        var expected: [[UInt8]] = []
        for file in 0..<5 {
            expected += file == 2 ? [[1, 2, 3]] : randomRecords(20 + file, longest: 100, seed: UInt64(file))
        }
        #expect(values == expected + [[4]])
    }

    @Test("what an unfinished build found is not looked for again")
    func part() throws {
        let fixture = try fixture(files: 4)
        try fixture.write("damaged.tfrecord", [1, 2, 3])
        let first = try fixture.commit()
        #expect(throws: RecordIndexError.self) { try readFiles(fixture, first) }
        try fixture.write("damaged.tfrecord", frame([1]))
        let second = try fixture.commit()
        let read = try readFiles(fixture, second)
        // The two threads may have been at one other file each when the damage was found.
        #expect(read.contains("damaged.tfrecord") && read.count <= 3)
    }

    @Test("an index that was damaged on the disk is made again", arguments: 0..<40 as Range<UInt64>)
    func damage(seed: UInt64) throws {
        let fixture = try fixture(files: 2)
        let snapshot = try fixture.commit()
        let values = try fixture.values(fixture.index(snapshot), snapshot)
        let name = try #require(try HostFileSystem().list(fixture.kept.path).first).name
        let path = fixture.kept.path.appending(name)
        let size = try HostFileSystem().status(of: path).size
        var random = SplitMix64(seed: seed)
        let file = try FileDescriptor.open(path, O_RDWR)
        if seed % 5 == 0 {
            try file.truncate(to: random.next() % size)
        } else {
            var byte: [UInt8] = [0]
            let offset = random.next() % size
            _ = try byte.withUnsafeMutableBytes { try file.read(into: $0, at: offset) }
            byte[0] ^= UInt8(1 << random.next() % 8)
            try byte.withUnsafeBytes { try file.write($0, at: offset) }
        }
        #expect(try fixture.values(fixture.index(snapshot), snapshot) == values)
    }

    @Test("all who ask at once share one build")
    func shared() throws {
        let fixture = try fixture(files: 3)
        let snapshot = try fixture.commit()
        let (indexes, bytes) = (fixture.indexes(), fixture.bytes(of: snapshot))
        let selection = try RecordSelection()
        let builds = (0..<20).map { _ in indexes.begin(snapshot, selection, bytes) }
        let found = try builds.map { try #require($0.wait(milliseconds: 10_000)).get() }
        #expect(found.allSatisfy { $0 === found[0] })
        #expect(try fixture.index(snapshot, in: indexes) === found[0])
    }

    /// Files whose bytes come when the test lets them.
    private final class Gate: FileBytes {
        private let isOpen = Monitor(false)
        private let isReading = Monitor(false)
        let bytes: TreeBytes
        init(_ bytes: TreeBytes) { self.bytes = bytes }

        func open() {
            isOpen.withLock { $0 = true }
            isOpen.wake()
        }
        func waitForReader() { isReading.wait { $0 ? () : nil } }

        func read(
            _ ordinal: UInt64, at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer
        ) throws(StoreError) -> Int {
            isReading.withLock { $0 = true }
            isReading.wake()
            isOpen.wait { $0 ? () : nil }
            return try bytes.read(ordinal, at: offset, into: buffer)
        }
    }

    @Test("a build tells how far it is, and does not hold up whoever waits a bounded time")
    func progress() throws {
        let fixture = try fixture(files: 3)
        let snapshot = try fixture.commit()
        let gate = Gate(fixture.bytes(of: snapshot))
        let build = fixture.indexes().begin(snapshot, try RecordSelection(), gate)
        gate.waitForReader()
        #expect(build.wait(milliseconds: 1) == nil)
        #expect(build.progress.files == 3 && build.progress.filesDone == 0 && build.progress.bytesDone == 0)
        gate.open()
        let index = try #require(build.wait(milliseconds: 10_000)).get()
        #expect(build.progress.filesDone == 3 && build.progress.bytesDone == build.progress.bytes)
        #expect(build.progress.records == index.records)
    }

    @Test("stopping ends builds and refuses new ones")
    func stop() throws {
        let fixture = try fixture(files: 3)
        let snapshot = try fixture.commit()
        let (gate, indexes) = (Gate(fixture.bytes(of: snapshot)), fixture.indexes())
        let build = indexes.begin(snapshot, try RecordSelection(), gate)
        gate.waitForReader()
        let stopper = try Thread(name: "stop") { indexes.stop() }
        while !build.isCancelled { sched_yield() }
        gate.open()
        stopper.join()
        let results = [build, indexes.begin(snapshot, try RecordSelection(), gate)].map {
            $0.wait(milliseconds: 0)
        }
        for result in results {
            #expect(throws: RecordIndexError.self) { try #require(result).get() }
        }
    }

    @Test("an index in the store saves reading the files; a bad one does no harm")
    func published() throws {
        let fixture = try fixture(files: 3)
        let snapshot = try fixture.commit()
        let selection = try RecordSelection()
        // As a command makes it, which reads the store and no mount.
        let made = RecordIndexes(directory: nil).begin(
            snapshot, selection, StoreFiles(fixture.store, snapshot))
        let index = try #require(made.wait(milliseconds: nil)).get()
        let key = try #require(try PublishedIndex.publish(index, in: fixture.objects))
        func take(in directory: ByteString?) throws -> (values: [[UInt8]], read: Set<ByteString>) {
            let bytes = fixture.bytes(of: snapshot)
            let build = RecordIndexes(directory: directory).begin(
                snapshot, selection, bytes, published: fixture.objects)
            let index = try #require(build.wait(milliseconds: nil)).get()
            #expect(build.progress.filesDone == build.progress.files)
            return (try fixture.values(index, snapshot), bytes.reads.paths)
        }
        let whole = try take(in: fixture.kept.path)
        #expect(whole.read.isEmpty && whole.values.count == 63)
        // It was kept: the store is not needed any more.
        let bytes = fixture.bytes(of: snapshot)
        _ = try #require(fixture.indexes().begin(snapshot, selection, bytes).wait(milliseconds: nil)).get()
        #expect(bytes.reads.paths.isEmpty)
        var damaged = try fixture.objects.readAll(key, limit: 1 << 20)
        damaged[damaged.count / 2] ^= 1
        try fixture.objects.delete(key)
        _ = try damaged.withUnsafeBytes { try fixture.objects.createIfAbsent(key, $0) }
        let again = try take(in: nil)
        #expect(again.read.count == 3 && again.values == whole.values)
    }

    @Test("without a place on disk the index is kept in memory")
    func memory() throws {
        let fixture = try fixture(files: 3)
        let snapshot = try fixture.commit()
        for directory in [nil, "/proc/none/such"] as [ByteString?] {
            let index = try fixture.index(snapshot, in: RecordIndexes(directory: directory))
            #expect(try fixture.values(index, snapshot).count == 63)
        }
    }

    @Test("the oldest indexes go when there are too many bytes of them")
    func limit() throws {
        let fixture = try fixture(files: 3)
        let indexes = RecordIndexes(directory: fixture.kept.path, mostBytes: 20_000)
        for turn in 0..<6 {
            try fixture.write("x.tfrecord", frame([UInt8(turn)]))
            let snapshot = try fixture.commit()
            #expect(try fixture.index(snapshot, in: indexes).records == 64)
        }
        let files = HostFileSystem()
        let sizes = try files.list(fixture.kept.path).map {
            try files.status(of: fixture.kept.path.appending($0.name)).blocks * 512
        }
        #expect(!sizes.isEmpty && sizes.reduce(0, +) <= 20_000)
    }
}
