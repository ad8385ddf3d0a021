package import DatasetFS
package import DatasetStore
import RecordIndex
import System

/// Who is at the other end of a session: as it was when it connected.
package struct FeedPeer: Hashable, Sendable {
    package var user: UInt32
    package var group: UInt32
    package var process: Int32

    package init(user: UInt32, group: UInt32, process: Int32) {
        self.user = user
        self.group = group
        self.process = process
    }
}

/// A snapshot that a pod may read.
package struct FeedDataset: Sendable {
    /// dataset@ref, for messages.
    package var name: String
    package var snapshot: Snapshot
    package var files: DatasetFS

    package init(name: String, snapshot: Snapshot, files: DatasetFS) {
        self.name = name
        self.snapshot = snapshot
        self.files = files
    }
}

/// The snapshots of the agent's stores, as far as a pod may read them.
package protocol FeedDatasets: Sendable {
    /// `snapshot`: the whole id that the name has to stand for, in hex; nil for whatever it stands for now. Blocks.
    func open(
        _ name: FeedName, snapshot: String?, for peer: FeedPeer
    ) throws(FeedFailure) -> FeedDataset
}

/// Bytes of a snapshot's files for whoever indexes them, by the way that a mount's reads go.
struct DatasetBytes: FileBytes {
    let files: DatasetFS

    func read(
        _ ordinal: UInt64, at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer
    ) throws(StoreError) -> Int {
        let outcome: Result<Int, Errno>
        do throws(Errno) {
            let inode = try files.file(of: Inode(rawValue: ordinal + 1))
            outcome = .success(try unsafe files.readAndWait(inode, at: offset, into: buffer))
        } catch {
            outcome = .failure(error)
        }
        switch outcome {
        case .success(let count): return count
        case .failure(let error):
            throw StoreError(
                .unavailable, "the file cannot be read: \(error)",
                path: files.describe(Inode(rawValue: ordinal + 1)).description,
                remedy: "The agent's log says why")
        }
    }
}

extension DatasetFS {
    /// Fills `buffer` from `offset` on, or up to the file's end; returns the bytes read. Blocks.
    func readAndWait(
        _ inode: Inode, at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer
    ) throws(Errno) -> Int {
        var done = 0
        while done < buffer.count {
            let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[done...])
            let count = try unsafe WaitedRead.read(self, inode, offset + UInt64(done), rest)
            if count == 0 { break }
            done += count
        }
        return done
    }
}

/// One read that its caller's thread waits for.
@safe private final class WaitedRead: @unchecked Sendable {
    // Sendable: `buffer` is written by the read's completion alone, before the outcome is there.
    private let buffer: UnsafeMutableRawBufferPointer
    private let outcome = Monitor<Result<Int, Errno>?>(nil)

    private init(_ buffer: UnsafeMutableRawBufferPointer) { unsafe self.buffer = buffer }

    static func read(
        _ files: DatasetFS, _ inode: Inode, _ offset: UInt64, _ buffer: UnsafeMutableRawBufferPointer
    ) throws(Errno) -> Int {
        let read = unsafe WaitedRead(buffer)
        let context = unsafe Unmanaged.passRetained(read).toOpaque()
        let completion = unsafe ReadCompletion(context: context) { context, segments, count, errno in
            let read = unsafe Unmanaged<WaitedRead>.fromOpaque(context).takeRetainedValue()
            let result = unsafe read.copy(segments, count, errno)
            read.outcome.withLock { $0 = result }
            read.outcome.wake()
        }
        files.read(inode, offset: offset, length: buffer.count, completion: completion)
        return try read.outcome.wait { $0 }.get()
    }

    private func copy(_ segments: UnsafeRawPointer?, _ count: Int, _ errno: Int32) -> Result<Int, Errno> {
        if errno > 0 { return .failure(Errno(rawValue: errno)) }
        guard let segments = unsafe segments?.assumingMemoryBound(to: ReadSegment.self) else {
            return .success(0)
        }
        var done = 0
        for index in 0..<count {
            let segment = unsafe segments[index]
            guard let base = unsafe segment.base, let target = unsafe buffer.baseAddress,
                unsafe segment.length <= buffer.count - done,
                unsafe copyFromMapping(base, to: target + done, count: segment.length)
            else { return .failure(.inputOutput) }
            done += segment.length
        }
        return .success(done)
    }
}
