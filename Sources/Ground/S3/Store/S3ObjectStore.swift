import HTTPExchange
package import ObjectStore
import Synchronization
package import System

/// A store in a bucket, below its location's prefix.
///
/// What can be seen is durable, so `makeDurable` does nothing. Create-if-absent is `If-None-Match: *`; every object
/// carries a random write id among its metadata, by which a writer whose answer was lost knows its own work.
package final class S3ObjectStore: ObjectStore {
    package let bucket: S3Bucket
    package let location: String

    let random: any RandomSource
    let clock: any Clock
    /// Uploads of parts that run side by side, over all writers.
    let uploadSlots = UploadSlots(limit: 4)
    private let writesAlone = Atomic(false)

    /// Does no I/O.
    package init(
        _ place: S3Location, _ service: S3Service, clock: any Clock = HostClock(),
        random: any RandomSource = HostRandom()
    ) {
        bucket = S3Bucket(place, service)
        location = place.description
        self.clock = clock
        self.random = random
    }

    package var place: S3Location { bucket.place }

    /// Whether creates look first and write then, since the server has no conditional writes.
    package var isSingleWriter: Bool { writesAlone.load(ordering: .relaxed) }

    package func useSingleWriterMode() { writesAlone.store(true, ordering: .relaxed) }

    package func size(of key: ObjectKey) throws(ObjectStoreError) -> UInt64? {
        do throws(S3Failure) { return try bucket.head(key.text.utf8).map(S3Bucket.size) } catch {
            throw failure(error, .size, key)
        }
    }

    package func readAll(_ key: ObjectKey, limit: Int) throws(ObjectStoreError) -> [UInt8] {
        var bytes: [UInt8] = []
        var isTooLarge = false
        let sink = BodySink { piece in
            guard piece.count <= limit - bytes.count else {
                isTooLarge = true
                return false
            }
            unsafe bytes.append(contentsOf: piece)
            return true
        }
        do throws(S3Failure) {
            try bucket.service.send(bucket.request(.get, key.text.utf8, priority: .urgent), sink)
        } catch {
            throw failure(error, .read, key)
        }
        guard !isTooLarge else {
            throw ObjectStoreError(
                .tooLarge, .read, key: key.text, location: location, detail: "the limit is \(limit) bytes")
        }
        return bytes
    }

    package func read(
        _ key: ObjectKey, from offset: UInt64, into buffer: UnsafeMutableRawBufferPointer
    ) throws(ObjectStoreError) {
        let (end, overflow) = offset.addingReportingOverflow(UInt64(buffer.count))
        guard !overflow else { throw truncated(key, offset) }
        var filled = 0
        let sink = BodySink { piece in
            // A client hands over no more than was asked for; this must hold whatever client it is.
            let count = min(piece.count, buffer.count - filled)
            unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[filled..<(filled + count)])
                .copyMemory(from: UnsafeRawBufferPointer(rebasing: piece.prefix(count)))
            filled += count
            return true
        }
        try stream(key, offset..<end, sink)
        guard filled == buffer.count else { throw truncated(key, offset) }
    }

    package func read(
        _ key: ObjectKey, _ range: Range<UInt64>,
        _ body: (UnsafeRawBufferPointer) throws(ObjectStoreError) -> Bool
    ) throws(ObjectStoreError) {
        var thrown: ObjectStoreError?
        let outcome = unsafe withoutActuallyEscaping(body) { body in
            Result { () throws(ObjectStoreError) in
                let sink = BodySink { piece in
                    do throws(ObjectStoreError) { return try unsafe body(piece) } catch {
                        thrown = error
                        return false
                    }
                }
                try stream(key, range, sink)
            }
        }
        if let thrown { throw thrown }
        try outcome.get()
    }

    /// The bytes of a range, which is not empty. Fails unless all of them were handed over, or `sink` had enough.
    private func stream(
        _ key: ObjectKey, _ range: Range<UInt64>, _ sink: BodySink
    ) throws(ObjectStoreError) {
        guard !range.isEmpty else { return }
        do throws(S3Failure) {
            try bucket.service.send(bucket.request(.get, key.text.utf8, range: range), sink)
        } catch {
            // A shorter range came, or an answer that is to something else: the object's size tells which.
            if case .http(let cause) = error, cause.code == .unexpected {
                guard let size = try size(of: key) else { throw failure(error, .read, key) }
                if size < range.upperBound { throw truncated(key, range.lowerBound) }
            }
            throw failure(error, .read, key)
        }
    }

    package func delete(_ key: ObjectKey) throws(ObjectStoreError) {
        do throws(S3Failure) { try bucket.service.send(bucket.request(.delete, key.text.utf8)) } catch {
            if error.status == 404, error.code != "NoSuchBucket" { return }
            throw failure(error, .delete, key)
        }
    }

    package func makeWriter(_ key: ObjectKey) throws(ObjectStoreError) -> any ObjectWriter {
        S3ObjectWriter(self, key)
    }

    func failure(
        _ failure: S3Failure, _ operation: ObjectStoreError.Operation, _ key: ObjectKey
    ) -> ObjectStoreError {
        failure.error(operation, key.text, place)
    }

    private func truncated(_ key: ObjectKey, _ offset: UInt64) -> ObjectStoreError {
        ObjectStoreError(
            .truncated, .read, key: key.text, location: location,
            detail: "it ends before the range from offset \(offset) does")
    }
}
