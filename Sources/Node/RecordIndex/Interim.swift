// Stands in for the index until it is there.
package import Chunking
package import DatasetStore
package import System

package struct RecordSelection: Hashable, Sendable {
    package let paths: [ByteString]
    package let format: RecordFormat?
    package init(paths: [ByteString], format: RecordFormat?, recordBytes: UInt32, headerBytes: UInt32) throws(RecordIndexError) {
        self.paths = paths
        self.format = format
    }
}

package final class RecordIndex: Sendable {
    package let snapshot: ContentHash
    package let format: RecordFormat
    package let records: UInt64
    package let bytes: UInt64
    package let columns: [RecordColumn]
    let files: [IndexedFile]
    let places: [RecordPlace]
    let labels: [Int64]
    package let labelNames: [ByteString]

    init(_ snapshot: ContentHash, _ format: RecordFormat, _ files: [IndexedFile], _ places: [RecordPlace], _ labels: [Int64], _ names: [ByteString]) {
        self.snapshot = snapshot
        self.format = format
        self.files = files
        self.places = places
        self.labels = labels
        labelNames = names
        records = UInt64(places.count)
        bytes = places.reduce(0) { $0 + $1.length }
        columns = format == .files
            ? [.init(name: "record", source: .file), .init(name: "label", source: .label), .init(name: "path", source: .path)]
            : [.init(name: "record", source: .file)]
    }

    package var fileCount: Int { files.count }
    package func file(_ number: Int) -> IndexedFile { files[number] }
    package func place(_ record: UInt64, column: Int) -> RecordPlace? { record < records ? places[Int(record)] : nil }
    package func label(_ record: UInt64) -> Int64 { record < UInt64(labels.count) ? labels[Int(record)] : -1 }
    package func withKey<R>(_ record: UInt64, _ body: (UnsafeRawBufferPointer) -> R) -> R? { nil }
}

package final class IndexBuild: Sendable {
    let result = Monitor<Result<RecordIndex, RecordIndexError>?>(nil)
    package func wait(milliseconds: Int) -> Result<RecordIndex, RecordIndexError>? { result.wait { $0 } }
}

package final class RecordIndexes: Sendable {
    package init(directory: ByteString, files: any FileSystem = HostFileSystem(), threads: Int = 2) {}
    package func stop() {}
    package func begin(_ snapshot: Snapshot, _ selection: RecordSelection, _ bytes: any FileBytes) -> IndexBuild {
        let build = IndexBuild()
        let made: Result<RecordIndex, RecordIndexError>
        do { made = .success(try Self.make(snapshot, selection, bytes)) } catch { made = .failure(RecordIndexError(.damaged, "\(error)")) }
        build.result.withLock { $0 = made }
        return build
    }

    private static func make(_ snapshot: Snapshot, _ selection: RecordSelection, _ bytes: any FileBytes) throws -> RecordIndex {
        var found: [(ordinal: UInt64, size: UInt64, name: String, top: ByteString?)] = []
        try snapshot.forEachEntry { ordinal, view, index throws(StoreError) in
            let entry = view.entry(index)
            switch entry.contents {
            case .chunk, .extents, .empty:
                let path = ManifestEntry.displayPath(keyPath: entry.keyPath)
                let parts = path.bytes.split(separator: UInt8(ascii: "/"))
                found.append((ordinal, entry.size, path.description, parts.count > 1 ? ByteString(Array(parts[0])) : nil))
            default: break
            }
        }
        if !selection.paths.isEmpty {
            found = found.filter { file in selection.paths.contains { file.name.hasPrefix($0.description) } }
        }
        let isTF = selection.format == .tfrecord || (selection.format == nil && found.contains { $0.name.hasSuffix(".tfrecord") })
        var files: [IndexedFile] = []
        var places: [RecordPlace] = []
        var labels: [Int64] = []
        let names = Set(found.compactMap(\.top)).sorted()
        for file in found {
            let first = UInt64(places.count)
            if isTF {
                guard file.name.hasSuffix(".tfrecord") else { continue }
                var at: UInt64 = 0
                while at + 12 <= file.size {
                    var head = [UInt8](repeating: 0, count: 12)
                    let outcome = unsafe head.withUnsafeMutableBytes { buffer in
                        Result { () throws(StoreError) in try unsafe bytes.read(file.ordinal, at: at, into: buffer) }
                    }
                    _ = try outcome.get()
                    let length = (0..<8).reduce(UInt64(0)) { $0 | UInt64(head[$1]) << (8 * UInt64($1)) }
                    places.append(.init(file: files.count, offset: at + 12, length: length))
                    at += 16 + length
                }
            } else {
                places.append(.init(file: files.count, offset: 0, length: file.size))
                labels.append(file.top.flatMap { names.firstIndex(of: $0) }.map(Int64.init) ?? -1)
            }
            files.append(.init(ordinal: file.ordinal, size: file.size, codec: .plain, decodedSize: file.size, records: first..<UInt64(places.count)))
        }
        return RecordIndex(snapshot.id, isTF ? .tfrecord : .files, files, places, labels, names)
    }
}

extension Snapshot {
    package func path(ofOrdinal ordinal: UInt64) throws(StoreError) -> ByteString {
        guard let place = try place(ofOrdinal: ordinal) else { return "" }
        return ManifestEntry.displayPath(keyPath: unsafe place.shard.pointee.view.entry(place.index).keyPath)
    }
}
