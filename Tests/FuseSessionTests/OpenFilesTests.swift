import DatasetFS
import FuseMount
@testable import FuseSession
import FuseTestSupport
import Glibc
import System
import Testing

/// A table in memory, and processes that come and go over it.
private struct Table: ~Copyable {
    let file: FileDescriptor
    init() throws { file = try OpenFilesMemory.make() }

    func process(capacity: Int = 100) throws -> OpenFiles {
        try OpenFiles(OpenFileTable(file, capacity: capacity))
    }

    func poke(_ word: UInt64, at offset: UInt64) throws {
        var word = word
        try withUnsafeBytes(of: &word) { try file.write($0, at: offset) }
    }
}

private let one = Inode(rawValue: 1)
private let two = Inode(rawValue: 2)
private let resent = OpenFiles.resentBit

extension OpenFiles {
    fileprivate mutating func opened(
        _ inode: Inode, _ mode: OpenModes.Prescribed, unique: UInt64, decidedPassthrough: Bool = false
    ) throws -> Opened {
        let outcome = open(
            inode, wanted: mode, .init(unique: unique, decidedPassthrough: decidedPassthrough))
        guard case .opened(let opened) = outcome else {
            Issue.record("\(outcome)")
            throw Errno.busy
        }
        return opened
    }
}

@Suite struct `Open files over a crash` {
    @Test func `the next process keeps to the modes of those that are open`() throws {
        let table = try Table()
        do {
            var files = try table.process()
            _ = try files.opened(one, .passthrough(backing: 7), unique: 2)
            _ = try files.opened(two, .cached, unique: 4)
        }
        var files = try table.process()
        #expect(files.prescribed(for: one) == .passthrough(backing: 7))
        #expect(files.prescribed(for: two) == .cached)
        #expect(files.backings == [7])
        // Whatever it would choose itself.
        #expect(try files.opened(one, .passthrough(backing: 8), unique: 6).mode == .passthrough(backing: 7))
        #expect(try files.opened(two, .passthrough(backing: 9), unique: 8).mode == .cached)
    }

    @Test func `an open that was recorded and is sent again is answered as before`() throws {
        let table = try Table()
        let opened: OpenFiles.Opened
        do {
            var files = try table.process()
            opened = try files.opened(one, .passthrough(backing: 7), unique: 10)
        }
        var files = try table.process()
        #expect(files.recorded(unique: 10 | resent) == opened)
        #expect(files.recorded(unique: 12 | resent) == nil)
        // A number without the bit is a new request's.
        #expect(files.recorded(unique: 10) == nil)
        #expect(files.release(opened.handle) == .init(backing: 7, decidedPassthrough: nil))
        #expect(files.openInodes == 0)
    }

    @Test func `an open that was not recorded is opened when it is sent again, and can be sent a third time`()
        throws
    {
        let table = try Table()
        let opened: OpenFiles.Opened
        do {
            var files = try table.process()
            #expect(files.recorded(unique: 20 | resent) == nil)
            opened = try files.opened(one, .cached, unique: 20 | resent)
        }
        let files = try table.process()
        #expect(files.recorded(unique: 20 | resent) == opened)
    }

    @Test func `an open joins those that last, and is free when the last of them has ended`() throws {
        let table = try Table()
        var files = try table.process()
        #expect(files.join(one, .init(unique: 2)) == .free)
        let first = try files.opened(one, .passthrough(backing: 7), unique: 2)
        guard case .opened(let second) = files.join(one, .init(unique: 4)) else {
            Issue.record("did not join")
            return
        }
        #expect(second.mode == .passthrough(backing: 7))
        #expect(files.release(first.handle)?.backing == nil)
        #expect(files.release(second.handle)?.backing == 7)
        // The backing id is dropped by now: nobody may join it any more.
        #expect(files.join(one, .init(unique: 6)) == .free)
        files.close()
        #expect(files.join(one, .init(unique: 8)) == .letGo)
    }

    @Test func `a release that is sent again takes nothing away from others`() throws {
        let table = try Table()
        let first: OpenFiles.Opened
        do {
            var files = try table.process()
            first = try files.opened(one, .passthrough(backing: 7), unique: 2)
            _ = try files.opened(one, .passthrough(backing: 7), unique: 4)
            #expect(files.release(first.handle) == .init(backing: nil, decidedPassthrough: false))
        }
        var files = try table.process()
        #expect(files.release(first.handle) == nil)
        #expect(files.prescribed(for: one) == .passthrough(backing: 7))
        // Nor when its place has gone to another open.
        let third = try files.opened(two, .cached, unique: 6)
        #expect(UInt32(truncatingIfNeeded: third.handle) == UInt32(truncatingIfNeeded: first.handle))
        #expect(files.release(first.handle) == nil)
        #expect(files.prescribed(for: two) == .cached)
    }

    @Test func `operations are told of releases of their own opens alone, as they decided`() throws {
        let table = try Table()
        let inherited: OpenFiles.Opened
        do {
            var files = try table.process()
            inherited = try files.opened(one, .cached, unique: 2, decidedPassthrough: true)
        }
        var files = try table.process()
        let own = try files.opened(one, .cached, unique: 4, decidedPassthrough: true)
        #expect(files.release(inherited.handle) == .init(backing: nil, decidedPassthrough: nil))
        #expect(files.release(own.handle) == .init(backing: nil, decidedPassthrough: true))
    }

    @Test func `a full table opens nothing more, until something is closed`() throws {
        let table = try Table()
        var files = try table.process(capacity: 2)
        let first = try files.opened(one, .cached, unique: 2)
        _ = try files.opened(one, .cached, unique: 4)
        #expect(files.open(two, wanted: .cached, .init(unique: 6)) == .full)
        #expect(files.openInodes == 1)
        _ = files.release(first.handle)
        _ = try files.opened(two, .cached, unique: 8)
    }

    @Test func `a process that let go neither opens nor releases`() throws {
        let table = try Table()
        var old = try table.process()
        let opened = try old.opened(one, .cached, unique: 2)
        old.close()
        #expect(old.open(two, wanted: .cached, .init(unique: 4)) == .letGo)
        #expect(old.release(opened.handle) == nil)
        var next = try table.process()
        #expect(next.openInodes == 1)
        #expect(next.release(opened.handle) == .init(backing: nil, decidedPassthrough: nil))
    }

    @Test func `whatever is opened and closed in whatever order, the next process knows the same`() throws {
        var random = SystemRandomNumberGenerator()
        let table = try Table()
        var live: [UInt64: (inode: UInt64, mode: OpenModes.Prescribed)] = [:]
        var unique: UInt64 = 2
        for _ in 0..<50 {
            var files = try table.process()
            for _ in 0..<Int.random(in: 0...40, using: &random) {
                if Bool.random(using: &random) || live.isEmpty {
                    let inode = UInt64.random(in: 1...6, using: &random)
                    let wanted: OpenModes.Prescribed =
                        Bool.random(using: &random) ? .cached : .passthrough(backing: Int32(unique))
                    let opened = try files.opened(Inode(rawValue: inode), wanted, unique: unique)
                    if let other = live.values.first(where: { $0.inode == inode }) {
                        #expect(opened.mode == other.mode)
                    }
                    #expect(live.updateValue((inode, opened.mode), forKey: opened.handle) == nil)
                    unique += 2
                } else if let handle = live.keys.randomElement(using: &random) {
                    let gone = live.removeValue(forKey: handle)
                    let isLast = !live.values.contains { $0.inode == gone?.inode }
                    var expected: Int32?
                    if isLast, case .passthrough(let backing) = gone?.mode { expected = backing }
                    #expect(files.release(handle)?.backing == expected)
                }
            }
            #expect(files.openInodes == Set(live.values.map(\.inode)).count)
        }
    }

    @Test func `what is no table, another version's, or contradicts itself is refused`() throws {
        let table = try Table()
        func failure() -> OpenFileTableError? {
            do throws(OpenFileTableError) {
                _ = try OpenFiles(OpenFileTable(table.file))
                return nil
            } catch {
                return error
            }
        }
        do {
            var files = try table.process()
            _ = try files.opened(one, .passthrough(backing: 7), unique: 2)
            _ = try files.opened(one, .passthrough(backing: 7), unique: 4)
        }
        let record = UInt64(OpenFilesMemory.headerBytes + OpenFilesMemory.recordBytes)
        // The second open of the inode has another backing id.
        try table.poke(8 | 1 << 32, at: record + 24)
        #expect(failure() == .damaged(record: 1))
        // A handle that is of another slot.
        try table.poke(7 | 1 << 32, at: record)
        #expect(failure() == .damaged(record: 1))
        try table.poke(UInt64(2) | 2 << 32, at: 8)
        #expect(failure() == .otherVersion(2))
        try table.poke(1, at: 0)
        #expect(failure() == .notATable)
        let other = try FileDescriptor.open("/dev/null", O_RDWR)
        #expect(throws: OpenFileTableError.notATable) { _ = try OpenFileTable(other) }
    }
}
