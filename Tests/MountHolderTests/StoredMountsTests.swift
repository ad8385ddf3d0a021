import FuseTestSupport
import Glibc
@testable import MountHolder
import System
import Testing

@Suite struct `What is kept of a mount` {
    @Test func `a record holds the last bytes that were written whole`() throws {
        let record = try MountRecord()
        #expect(record.read() == nil)
        for length in [1, 1000, 5, HolderLimits.messageBytes] {
            let bytes = [UInt8](repeating: UInt8(length & 0xFF), count: length)
            try record.write(bytes)
            #expect(record.read() == bytes)
        }
        try record.write([1, 2, 3])
        #expect(MountRecord(try record.file.duplicate()).read() == [1, 2, 3])
        #expect(throws: Errno.fileTooLarge) { try record.write([UInt8](repeating: 0, count: 65537)) }
        #expect(record.read() == [1, 2, 3])
        try withUnsafeBytes(of: UInt64.max) { try record.file.write($0, at: 0) }
        #expect(record.read() == nil)
    }

    @Test func `names in the service manager's store are parsed strictly`() {
        #expect(StoredMounts.parse("kaml-record-17")?.1 == 17)
        for name in ["kaml-record", "kaml-record-", "kaml-record--1", "kaml-x-1", "x-record-1", "stored", ""]
        {
            #expect(StoredMounts.parse(name) == nil)
        }
    }
}
