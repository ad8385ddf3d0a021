import Chunking
import DatasetStore
import Glibc
import ObjectStore
import System

/// Opens an index that is there, or makes it.
struct IndexRun: Sendable {
    let home: RecordIndexes
    let build: IndexBuild
    let snapshot: Snapshot
    let selection: RecordSelection
    let source: any FileStreams
    /// Where an index may lie that somebody else made.
    let published: (any ObjectStore)?

    /// Most older indexes that sections are taken from.
    private static let mostOlder = 4

    func run() throws(RecordIndexError) -> RecordIndex {
        // Without a format it comes from the files' names, so any may be in the index's name.
        for format in selection.format.map({ [$0] }) ?? RecordFormat.allCases {
            if let index = open(ByteString(name(format) + ".index")), isWanted(index) { return index }
        }
        let walk = SelectionWalk(snapshot: snapshot, selection: selection)
        let summary = try walk.summary()
        build.update { progress in (progress.files, progress.bytes) = (summary.files, summary.bytes) }
        if summary.format == .files { return try list(walk, summary) }
        if PublishedIndex.isWorthwhile(summary.format), let published,
            let index = take(summary, from: published)
        {
            return index
        }
        return try index(walk, summary)
    }

    private func isWanted(_ index: RecordIndex) -> Bool {
        !index.header.isPartial && index.snapshot == snapshot.id && index.selection == selection.encoded
    }

    /// Nil when there is none, or a bad one.
    private func take(_ summary: SelectionSummary, from objects: any ObjectStore) -> RecordIndex? {
        let name = name(summary.format)
        guard let bytes = PublishedIndex.read(name, from: objects),
            let index = try? RecordIndex(ImageMemory(bytes)),
            isWanted(index), index.format == summary.format, index.fileCount == summary.files
        else { return nil }
        build.update { progress in
            (progress.filesDone, progress.bytesDone, progress.records) = (
                progress.files, progress.bytes, index.records
            )
        }
        return IndexPlace(home, name).keep(copyOf: bytes) ?? index
    }

    private func list(_ walk: SelectionWalk, _ summary: SelectionSummary) throws(RecordIndexError)
        -> RecordIndex
    {
        let (table, labels) = try walk.plainFiles(summary)
        let place = IndexPlace(home, name(summary.format))
        var writer = IndexWriter(
            place.create(), home.files, header(summary), selection: selection.encoded, count: 0)
        let bytes: [UInt8]
        do throws(Errno) {
            bytes = try writer.finish(files: table, labels: labels, valueBytes: summary.bytes)
        } catch {
            place.remove()
            throw IndexPlace.unavailable(error)
        }
        build.update { progress in
            (progress.filesDone, progress.records) = (progress.files, UInt64(progress.files))
        }
        return try place.keep(bytes)
    }

    private func index(_ walk: SelectionWalk, _ summary: SelectionSummary) throws(RecordIndexError)
        -> RecordIndex
    {
        let files = try walk.files(summary)
        let known = KnownSections(older(summary.format))
        let place = IndexPlace(home, name(summary.format))
        let header = header(summary)
        let writer = IndexWriter(
            place.create(), home.files, header, selection: selection.encoded, count: files.count)
        let work = IndexWork(files, writer, known, source, header, build)
        do throws(IndexWork.Trouble) {
            try work.run(threads: min(home.threads, files.count))
        } catch {
            // What was found stays found.
            if (try? work.finish(isPartial: true)) != nil { place.keepPart() } else { place.remove() }
            guard let ordinal = error.ordinal, let path = try? snapshot.path(ofOrdinal: ordinal) else {
                throw error.error
            }
            throw error.error.at(path: path.description)
        }
        let bytes: [UInt8]
        do throws(Errno) { bytes = try work.finish(isPartial: false) } catch {
            place.remove()
            throw IndexPlace.unavailable(error)
        }
        return try place.keep(bytes)
    }

    private func header(_ summary: SelectionSummary) -> IndexHeader {
        IndexHeader(
            snapshot: snapshot.id, format: summary.format, isPartial: false, files: 0, records: 0,
            valueBytes: 0,
            recordBytes: selection.recordBytes, headerBytes: selection.headerBytes)
    }

    private func name(_ format: RecordFormat) -> String {
        RecordIndex.name(snapshot.id, format, selectionTag: RecordSelection.tag(of: selection.encoded))
    }

    /// What the newest indexes of the format have, finished or not, whatever their selection.
    private func older(_ format: RecordFormat) -> [RecordIndex] {
        guard let directory = home.directory, let entries = try? home.files.list(directory) else { return [] }
        var found: [(name: ByteString, modified: Timestamp)] = []
        for entry in entries {
            let text = entry.name.description
            guard text.contains("-\(format.name)-"), text.hasSuffix(".index") || text.hasSuffix(".part"),
                let status = try? home.files.status(of: directory.appending(entry.name))
            else { continue }
            found.append((entry.name, status.modified))
        }
        return found.sorted { $0.modified > $1.modified }.prefix(Self.mostOlder).compactMap { open($0.name) }
            .filter {
                $0.format == format && $0.header.recordBytes == selection.recordBytes
                    && $0.header.headerBytes == selection.headerBytes
            }
    }

    /// Nil for what is not there or damaged: it is made again.
    private func open(_ name: ByteString) -> RecordIndex? {
        guard let directory = home.directory,
            let file = try? home.files.open(directory.appending(name), O_RDONLY | O_NOFOLLOW | O_NONBLOCK),
            let memory = try? ImageMemory(file)
        else { return nil }
        return try? RecordIndex(memory)
    }
}
