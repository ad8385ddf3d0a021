import KamlTestSupport
import ObjectStore
import System
import Testing

/// Each step of a publish fails in turn; what was there before or the whole new object remains, nothing else.
@Suite("A store in a directory whose file system fails")
struct FileFaultTests {
    let directory: TemporaryDirectory
    let bytes = SeededBytes.make(300_000)

    init() throws { directory = try TemporaryDirectory() }

    @Test("acknowledges no object that it did not make durable", arguments: FileSystemCall.allCases)
    func everyStepFails(call: FileSystemCall) throws {
        for errno in [Errno.inputOutput, .noSpace] {
            var number = 1
            while true {
                let root = directory.path.appending(ByteString("\(call)-\(errno.rawValue)-\(number)"))
                let faulty = FaultyFileSystem()
                let store = FileObjectStore(root, files: faulty)
                try store.createDirectory()
                let before = faulty.count(call)
                faulty.on(call, number, errno)
                let outcome = Result { try publish(to: store) }
                let reached = faulty.count(call) - before >= number
                try check(outcome, in: root)
                guard reached else { break }
                number += 1
                try #require(number < 100)
            }
        }
    }

    private func publish(to store: FileObjectStore) throws -> CreateOutcome {
        let writer = try store.makeWriter(key("packs/ab/x"))
        try writer.append(bytes)
        try writer.append(bytes)
        return try writer.publish()
    }

    /// Looks with a healthy file system.
    private func check(_ outcome: Result<CreateOutcome, any Error>, in root: ByteString) throws {
        let store = FileObjectStore(root)
        let size = try store.size(of: key("packs/ab/x"))
        switch outcome {
        case .success(let outcome):
            #expect(outcome == .created)
            #expect(size == UInt64(2 * bytes.count))
        case .failure:
            #expect(size == nil || size == UInt64(2 * bytes.count))
        }
        if size != nil {
            #expect(try store.readAll(key("packs/ab/x"), limit: .max) == bytes + bytes)
        }
        // Whatever failed, the next attempt works.
        #expect(try publish(to: store) == (size == nil ? .created : .exists))
    }

    @Test("makes the bytes durable before the name, and the name before it says so")
    func order() throws {
        let faulty = FaultyFileSystem()
        let store = FileObjectStore(directory.path, files: faulty)
        // The first object makes the folders durable, too: the store's directory and packs/ are synced for them.
        _ = try publish(to: store)
        #expect(faulty.trace.count { $0 == .makeDirectory } == 3)
        #expect(faulty.trace.count { $0 == .sync } == 4)
        let before = faulty.trace.count
        #expect(try store.createIfAbsent(key("packs/ab/y"), bytes) == .created)
        let steps = faulty.trace.dropFirst(before).filter { [.write, .sync, .link, .unlink].contains($0) }
        #expect(steps == [.write, .sync, .link, .sync, .unlink])
        // Whoever finds a name relies on it, though its maker may have died before the sync.
        let syncs = faulty.count(.sync)
        #expect(try store.createIfAbsent(key("packs/ab/y"), bytes) == .exists)
        #expect(faulty.count(.sync) == syncs + 1)
    }

    @Test("throws a file away whose sync failed, and never syncs it again")
    func failedSync() throws {
        let faulty = FaultyFileSystem()
        let store = FileObjectStore(directory.path, files: faulty)
        let writer = try store.makeWriter(key("x"))
        try writer.append(bytes)
        faulty.on(.sync, 1, .inputOutput)
        let syncs = faulty.count(.sync)
        expect(.inputOutput) { () throws(ObjectStoreError) in _ = try writer.publish() }
        expect(.inputOutput) { () throws(ObjectStoreError) in _ = try writer.publish() }
        #expect(faulty.count(.sync) == syncs + 1)
        #expect(try store.size(of: key("x")) == nil)
        #expect(try HostFileSystem().list(directory.path.appending(".tmp")).isEmpty)
    }

    @Test("tells a full store, a quota and a read-only one apart from a broken disk")
    func codes() throws {
        let faulty = FaultyFileSystem()
        let store = FileObjectStore(directory.path, files: faulty)
        let codes: [(Errno, ObjectStoreError.Code)] = [
            (.noSpace, .noSpace), (.quotaExceeded, .noSpace), (.readOnlyFileSystem, .permissionDenied),
            (.accessDenied, .permissionDenied), (.inputOutput, .inputOutput), (.stale, .unavailable),
        ]
        for (errno, code) in codes {
            faulty.on(.write, 1, errno)
            expect(code) { () throws(ObjectStoreError) in _ = try store.createIfAbsent(key("x"), [1]) }
        }
        #expect(try store.createIfAbsent(key("x"), [1]) == .created)
    }

    @Test("renames exclusively where there are no hard links")
    func noHardLinks() throws {
        let faulty = FaultyFileSystem()
        faulty.always(.link, .notPermitted)
        let store = FileObjectStore(directory.path, files: faulty)
        let (first, second) = (try store.makeWriter(key("x")), try store.makeWriter(key("x")))
        try first.append([1])
        try second.append([2])
        #expect(try first.publish() == .created)
        #expect(try second.publish() == .exists)
        #expect(try store.readAll(key("x"), limit: 1) == [1])
        #expect(try HostFileSystem().list(directory.path.appending(".tmp")).isEmpty)
    }

    @Test("refuses a file system that has neither hard links nor exclusive renames")
    func noExclusiveNames() throws {
        let faulty = FaultyFileSystem()
        faulty.always(.link, .notPermitted)
        faulty.always(.rename, .invalid)
        let store = FileObjectStore(directory.path, files: faulty)
        expect(.notSupported) { () throws(ObjectStoreError) in _ = try store.createIfAbsent(key("x"), [1]) }
        #expect(try store.size(of: key("x")) == nil)
    }
}

enum SeededBytes {
    static func make(_ count: Int) -> [UInt8] {
        var random = SplitMix64(seed: 7)
        return random.bytes(count)
    }
}
