import Glibc
import System

/// Where an index goes: written under another name, then renamed.
struct IndexPlace {
    private let files: any FileSystem
    private let final: ByteString
    private let part: ByteString
    private let temporary: ByteString
    private let isKept: Bool

    init(_ home: RecordIndexes, _ name: String) {
        let directory = home.directory ?? ""
        (files, isKept) = (home.files, home.directory != nil)
        final = directory.appending(ByteString(name + ".index"))
        part = directory.appending(ByteString(name + ".part"))
        temporary = directory.appending(home.temporaryName(ByteString(name)))
    }

    /// The file to write to; nil where the index is to be kept in memory.
    func create() -> FileDescriptor? {
        isKept ? try? files.open(temporary, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o600) : nil
    }

    /// The index that was written: to the file, or to memory, which `bytes` are then.
    func keep(_ bytes: [UInt8]) throws(RecordIndexError) -> RecordIndex {
        guard bytes.isEmpty else { return try RecordIndex(ImageMemory(bytes)) }
        let memory: ImageMemory
        do throws(Errno) {
            try files.rename(temporary, final)
            try? files.unlink(part)
            memory = try ImageMemory(try files.open(final, O_RDONLY | O_NOFOLLOW))
        } catch {
            throw Self.unavailable(error)
        }
        return try RecordIndex(memory)
    }

    /// An index that came whole; nil when it cannot be written.
    func keep(copyOf bytes: [UInt8]) -> RecordIndex? {
        switch create() {
        case .none: return nil
        case .some(let file):
            let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 8)
            defer { unsafe copy.deallocate() }
            unsafe copy.copyBytes(from: bytes)
            do throws(Errno) { try unsafe files.write(file, UnsafeRawBufferPointer(copy), at: 0) } catch {
                remove()
                return nil
            }
        }
        return try? keep([])
    }

    /// For the next build.
    func keepPart() {
        if isKept { try? files.rename(temporary, part) }
    }

    func remove() {
        if isKept { try? files.unlink(temporary) }
    }

    static func unavailable(_ error: Errno) -> RecordIndexError {
        RecordIndexError(
            .unavailable, "the index cannot be written", cause: error,
            remedy: "Make room on the disk of the cache, then open the feed again")
    }
}
