import DatasetStore
import ObjectStore
import System

/// Frames of a large file that are read while its footer is still on its way, from where they must lie if every chunk is
/// 1 MiB and none is compressed. The pack's lengths tell whether that is so; the footer decides.
final class Speculation: Sendable {
    let container: Container
    /// Bytes of the pack.
    let range: Range<UInt64>
    private let state = Monitor(State.waiting)

    private enum State {
        case waiting, running, cancelled
        case done(FetchedBytes?)
    }

    /// Nil when the pack cannot be of that kind, or the bytes are many.
    init?(_ container: Container, bytes: Range<UInt64>) {
        let pack = container.pack
        let (chunk, header) = (UInt64(1 << 20), UInt64(PackFormat.frameHeaderLength))
        let count = UInt64(pack.chunkCount)
        guard pack.layout == .file, !bytes.isEmpty, bytes.upperBound <= pack.containerSize,
            bytes.count <= 2 << 20, (pack.containerSize + chunk - 1) / chunk == count,
            pack.objectSize
                == UInt64(PackFormat.headerLength) + count * header + pack.containerSize
                + UInt64(pack.footerLength)
        else { return nil }
        let first = bytes.lowerBound / chunk
        let end = (bytes.upperBound - 1) / chunk + 1
        let start = UInt64(PackFormat.headerLength) + first * (chunk + header)
        let stop = UInt64(PackFormat.headerLength) + end * header + min(end * chunk, pack.containerSize)
        self.container = container
        range = start..<stop
    }

    /// Reads, unless it was given up.
    func run() {
        let isMine = state.withLock { state in
            guard case .waiting = state else { return false }
            state = .running
            return true
        }
        guard isMine else { return }
        let bytes = FetchedBytes(count: range.count)
        var result: FetchedBytes?
        if let origin = container.origin {
            container.context.counters.fetchRequests.count()
            if case .success = Result(catching: { () throws(ObjectStoreError) in
                try unsafe origin.read(container.pack.key, from: range.lowerBound, into: bytes.memory)
            }) {
                container.context.counters.fetchedBytes.count(range.count)
                result = bytes
            }
        }
        state.withLock { $0 = .done(result) }
        state.wake()
    }

    /// The bytes, once they are there. Nil when no thread has begun to read them, or they could not be read.
    func take() -> FetchedBytes? {
        state.wait { state -> FetchedBytes?? in
            switch state {
            case .waiting, .cancelled:
                state = .cancelled
                return .some(nil)
            case .running: return nil
            case .done(let bytes):
                state = .cancelled
                return .some(bytes)
            }
        }
    }
}
