import DatasetStore
import System

/// Files that are indexed side by side, their sections written as they come.
final class IndexWork: Sendable {
    private let files: [SelectedFile]
    private let known: KnownSections
    private let source: any FileStreams
    private let header: IndexHeader
    private let build: IndexBuild
    private let state: Monitor<State>

    private struct State: ~Copyable {
        var writer: IndexWriter
        var next = 0
        var trouble: Trouble?
    }

    /// Why there is no index.
    struct Trouble: Error, Sendable {
        var error: RecordIndexError
        /// Whose path the error lacks.
        var ordinal: UInt64?
    }

    init(
        _ files: [SelectedFile], _ writer: consuming sending IndexWriter, _ known: KnownSections,
        _ source: any FileStreams,
        _ header: IndexHeader, _ build: IndexBuild
    ) {
        (self.files, self.known, self.source, self.header, self.build) = (files, known, source, header, build)
        state = Monitor(State(writer: writer))
    }

    /// Works until all is done or something is wrong.
    func run(threads: Int) throws(Trouble) {
        WorkerThreads(threads, "kaml-index") { self.work() }.join()
        if let trouble = state.withLock({ $0.trouble }) { throw trouble }
    }

    /// Ends the file of the index; its bytes when it lies in memory.
    func finish(isPartial: Bool) throws(Errno) -> [UInt8] {
        try state.withLock { state throws(Errno) in try state.writer.finish(isPartial: isPartial) }
    }

    private func work() {
        while let number = next() {
            let file = files[number]
            do throws(RecordIndexError) {
                let piece: IndexPiece
                if let old = known.piece(of: file) {
                    piece = old
                    build.update { $0.bytesDone &+= file.size }
                } else {
                    piece = try index(file)
                }
                try add(piece, file, number)
                build.update { progress in
                    progress.filesDone += 1
                    progress.records &+= piece.records
                }
            } catch {
                stop(Trouble(error: error, ordinal: file.ordinal))
            }
        }
    }

    private func index(_ file: SelectedFile) throws(RecordIndexError) -> IndexPiece {
        if header.format == .fixed {
            build.update { $0.bytesDone &+= file.size }
            return try FileIndexer.fixed(file.size, header)
        }
        var indexer = FileIndexer(header.format, size: file.size)
        var passed: UInt64 = 0
        if file.size > 0 {
            try unsafe source.stream(file.ordinal, size: file.size) {
                offset, bytes throws(RecordIndexError) in
                if build.isCancelled { throw RecordIndexes.stopped }
                let end = offset + UInt64(bytes.count)
                build.update { $0.bytesDone &+= end - passed }
                passed = end
                return try unsafe indexer.take(at: offset, bytes)
            }
        }
        return try indexer.finish()
    }

    private func add(_ piece: IndexPiece, _ file: SelectedFile, _ number: Int) throws(RecordIndexError) {
        do throws(Errno) {
            try state.withLock { state throws(Errno) in
                try state.writer.append(piece, of: file, number: number)
            }
        } catch { throw IndexPlace.unavailable(error) }
    }

    private func next() -> Int? {
        let count = files.count
        return state.withLock { state in
            guard state.trouble == nil, state.next < count else { return nil }
            state.next += 1
            return state.next - 1
        }
    }

    private func stop(_ trouble: Trouble) {
        state.withLock { state in state.trouble = state.trouble ?? trouble }
    }
}
