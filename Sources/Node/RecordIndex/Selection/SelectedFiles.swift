import Chunking
package import DatasetStore
import Glibc
package import System

/// A file that records are to be found in.
struct SelectedFile: Sendable {
    let ordinal: UInt64
    let size: UInt64
    /// Names its bytes: files of the same identity and size have the same records.
    let identity: ContentHash
}

/// What a selection comes to in a snapshot.
struct SelectionSummary: Sendable, Equatable {
    var format: RecordFormat
    /// Whether only files with the format's names are meant; of `RecordFormat.files`, those with no format's name.
    var goesByNames: Bool
    var files = 0
    var bytes: UInt64 = 0
    /// Whose next component numbers a file's label; components joined by NUL.
    var labelBase: [UInt8] = []
}

/// The files of a snapshot that a selection means, in the snapshot's order. Symbolic links are none.
struct SelectionWalk {
    let snapshot: Snapshot
    let selection: RecordSelection

    /// - Throws: `.notFound` when there are none.
    func summary() throws(RecordIndexError) -> SelectionSummary {
        var counts: [RecordFormat?: (files: Int, bytes: UInt64)] = [:]
        var common: [UInt8]?
        var (parquet, total): (UInt64, UInt64) = (0, 0)
        try forEachFile { file in
            let format = unsafe RecordFormat(fileName: file.name)
            let count = counts[format] ?? (0, 0)
            counts[format] = (count.files + 1, count.bytes &+ file.size)
            if unsafe RecordFormat.isParquet(fileName: file.name) { parquet &+= file.size }
            total &+= file.size
            if file.isFirstOfDirectory { common = unsafe Self.commonDirectory(common, file.directory) }
        }
        guard selection.format != nil || parquet <= total / 2 else {
            throw RecordIndexError(
                .unsupported, "the rows of Parquet files cannot be fed",
                remedy:
                    "Read them through the mount or kaml:// with a Parquet library, or give the format \"files\" to get each file whole"
            )
        }
        var summary = decide(counts)
        for (format, count) in counts
        where !summary.goesByNames || format == summary.format || format == nil && summary.format == .files {
            summary.files += count.files
            summary.bytes &+= count.bytes
        }
        guard summary.files > 0 else {
            throw RecordIndexError(
                .notFound,
                selection.paths.isEmpty
                    ? "the snapshot has no files"
                    : "no file of the snapshot lies below or matches the given paths",
                path: selection.paths.first?.text.description,
                remedy: "List what there is with `kaml ls -R`")
        }
        summary.labelBase = labelBase(common ?? [])
        return summary
    }

    /// By the format that was asked for; else by the names, where the most bytes lie.
    private func decide(_ counts: [RecordFormat?: (files: Int, bytes: UInt64)]) -> SelectionSummary {
        if let format = selection.format {
            // Paths are taken at their word. Without them, files that lie beside those of the format are not meant, if any is
            // named as one.
            let isNamed = counts[format] != nil && selection.paths.isEmpty && format != .files
            return SelectionSummary(format: format, goesByNames: isNamed)
        }
        let named = counts.compactMap { format, count in format.map { (format: $0, bytes: count.bytes) } }
            .max { ($0.bytes, $0.format.rawValue) < ($1.bytes, $1.format.rawValue) }
        guard let named, named.bytes >= counts[nil]?.bytes ?? 0 else {
            return SelectionSummary(format: .files, goesByNames: true)
        }
        return SelectionSummary(format: named.format, goesByNames: true)
    }

    private func labelBase(_ common: [UInt8]) -> [UInt8] {
        guard !selection.paths.isEmpty else { return common }
        var base: [UInt8]?
        for path in selection.paths {
            let part = path.fixedPart.map { $0 == UInt8(ascii: "/") ? 0 : $0 }
            base = unsafe part.withUnsafeBytes { unsafe Self.commonDirectory(base, $0) }
        }
        return unsafe common.withUnsafeBytes { unsafe Self.commonDirectory(base, $0) }
    }

    /// The deepest directory that both lie in or are.
    private static func commonDirectory(_ one: [UInt8]?, _ other: UnsafeRawBufferPointer) -> [UInt8] {
        guard let one else { return unsafe Array(other) }
        var end = 0
        var index = 0
        while true {
            let isEnd = index == one.count || one[index] == 0
            let isOtherEnd = unsafe index == other.count || other[index] == 0
            if isEnd, isOtherEnd { end = index }
            guard index < one.count, index < other.count, unsafe one[index] == other[index] else { break }
            index += 1
        }
        return Array(one[..<end])
    }

    /// Files with records in them.
    func files(_ summary: SelectionSummary) throws(RecordIndexError) -> [SelectedFile] {
        var files: [SelectedFile] = []
        files.reserveCapacity(summary.files)
        try forEachFile { file in
            guard unsafe !summary.goesByNames || RecordFormat(fileName: file.name) == summary.format else {
                return
            }
            files.append(SelectedFile(ordinal: file.ordinal, size: file.size, identity: file.identity))
        }
        return files
    }

    /// Files that are records: the table of an index, and the names of the labels.
    ///
    /// - Throws: `.unsupported` for more than an index can hold.
    func plainFiles(_ summary: SelectionSummary) throws(RecordIndexError) -> (
        table: [UInt8], labels: [[UInt8]]
    ) {
        var table: [UInt8] = []
        table.reserveCapacity(summary.files * IndexFormat.plainFileLength)
        var labels: [[UInt8]] = []
        var label = IndexFormat.noLabel
        var isTooMuch = false
        try forEachFile { file in
            guard unsafe !summary.goesByNames || RecordFormat(fileName: file.name) == nil else { return }
            if file.isFirstOfDirectory || labels.isEmpty && label == IndexFormat.noLabel {
                // Directories come in byte order, all that lies below one together.
                if let name = unsafe Self.topmost(file.directory, below: summary.labelBase) {
                    if labels.last != name { labels.append(name) }
                    label = UInt32(truncatingIfNeeded: labels.count - 1)
                } else {
                    label = IndexFormat.noLabel
                }
            }
            isTooMuch = isTooMuch || labels.count > IndexFormat.mostLabels || file.ordinal >= 1 << 40
            table.append(littleEndian: file.ordinal & (1 << 40 - 1) | UInt64(label) << 40)
            table.append(littleEndian: file.size)
        }
        guard !isTooMuch, table.count / IndexFormat.plainFileLength <= IndexFormat.mostFiles else {
            throw RecordIndexError(
                .unsupported, "the snapshot has more files or directories than an index can hold")
        }
        return (table, labels)
    }

    private static func topmost(_ directory: UnsafeRawBufferPointer, below base: [UInt8]) -> [UInt8]? {
        guard directory.count > base.count, unsafe directory.starts(with: base) else { return nil }
        var begin = base.count
        if begin > 0 {
            guard unsafe directory[begin] == 0 else { return nil }
            begin += 1
        }
        return unsafe Array(directory[begin...].prefix { $0 != 0 })
    }

    /// A file in a walk. Its names are valid during the call.
    @safe struct Visit {
        let ordinal: UInt64
        /// Components joined by NUL.
        let directory: UnsafeRawBufferPointer
        let name: UnsafeRawBufferPointer
        let size: UInt64
        let identity: ContentHash
        /// Whether the files before it lie in other directories.
        let isFirstOfDirectory: Bool
    }

    private func forEachFile(_ body: (Visit) -> Void) throws(RecordIndexError) {
        var lastDirectory: [UInt8]?
        do throws(StoreError) {
            try snapshot.forEachEntry { ordinal, view, index throws(StoreError) in
                let own = view.record(index)
                let record: RecordView
                switch own.kind {
                case .directory, .symlink: return
                case .empty, .chunk, .extents: record = own
                case .hardLink:
                    guard let place = try snapshot.place(ofOrdinal: ordinal) else { return }
                    record = try snapshot.resolve(place).record
                }
                guard record.mode & UInt32(S_IFMT) == UInt32(S_IFREG) else { return }
                let directory = unsafe view.directoryPath(own.directory)
                if !selection.paths.isEmpty {
                    var path = unsafe directory.map { $0 == 0 ? UInt8(ascii: "/") : $0 }
                    if !path.isEmpty { path.append(UInt8(ascii: "/")) }
                    unsafe path.append(contentsOf: own.name)
                    guard selection.contains(path) else { return }
                }
                let isFirst = lastDirectory.map { unsafe !$0.elementsEqual(directory) } ?? true
                if isFirst { lastDirectory = unsafe Array(directory) }
                unsafe body(
                    Visit(
                        ordinal: ordinal, directory: directory, name: own.name, size: record.size,
                        identity: record.kind == .empty ? .zero : record.hash, isFirstOfDirectory: isFirst))
            }
        } catch { throw RecordIndexError(store: error) }
    }
}

extension RecordIndexError {
    init(store error: StoreError) {
        let code: Code =
            switch error.code {
            case .damaged: .damaged
            case .unsupported: .unsupported
            case .notFound: .notFound
            case .invalidInput: .invalidInput
            case .conflict, .noSpace, .unavailable, .sourceChanged, .permissionDenied, .inputOutput:
                .unavailable
            }
        self.init(code, "the snapshot's files cannot be read", path: error.path, cause: error)
    }

    package init(reading error: StoreError, at offset: UInt64? = nil) {
        self.init(
            error.code == .damaged ? .damaged : .unavailable, "the file cannot be read", offset: offset,
            cause: error)
    }
}

extension Snapshot {
    /// The path of an entry, with slashes; empty for the root and for an ordinal that is none.
    package func path(ofOrdinal ordinal: UInt64) throws(StoreError) -> ByteString {
        guard let place = try place(ofOrdinal: ordinal) else { return "" }
        let view = unsafe place.shard.pointee.view
        let record = view.record(place.index)
        var path = unsafe view.directoryPath(record.directory).map { $0 == 0 ? UInt8(ascii: "/") : $0 }
        if !path.isEmpty { path.append(UInt8(ascii: "/")) }
        unsafe path.append(contentsOf: record.name)
        return ByteString(path)
    }
}
