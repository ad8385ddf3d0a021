import Glibc
import System

extension FileObjectStore {
    /// A day: no writer lets its file alone that long.
    static let abandonedAge: Int64 = 24 * 3600

    private static let temporaryFolder = ".tmp"

    /// A new, empty file under a random name in the folder for temporary files.
    func openTemporary() throws(Errno) -> (ByteString, OpenFile) {
        let name = random.bytes(16).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        let temporary = path("\(Self.temporaryFolder)/\(name)")
        let flags = O_WRONLY | O_CREAT | O_EXCL
        do throws(Errno) {
            return (temporary, OpenFile(try files.open(temporary, flags, mode: 0o444)))
        } catch .noEntry {
            try makeFolder(Self.temporaryFolder)
            return (temporary, OpenFile(try files.open(temporary, flags, mode: 0o444)))
        }
    }

    /// Removes what writers left that died: temporary files whose last write is more than `seconds` ago by this
    /// machine's clock. A day is safe, since it is far more than clocks of hosts that share a store differ.
    /// Returns the number of files removed.
    @discardableResult
    package func removeAbandoned(olderThan seconds: Int64) throws(ObjectStoreError) -> Int {
        let entries: [DirectoryEntry]
        do throws(Errno) {
            entries = try files.list(path(Self.temporaryFolder))
        } catch {
            let failure = failure(error, .list, Self.temporaryFolder)
            if failure.code == .notFound { return 0 }
            throw failure
        }
        let now = clock.now().seconds
        var removed = 0
        for entry in entries {
            let path = path(Self.temporaryFolder).appending(entry.name)
            // A file that vanishes meanwhile was published, or removed by somebody else.
            guard let status = try? files.status(of: path), status.kind == .regular,
                now.subtractingReportingOverflow(status.modified.seconds).partialValue > seconds
            else { continue }
            if (try? files.unlink(path)) != nil { removed += 1 }
        }
        return removed
    }
}
