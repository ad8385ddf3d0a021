package import Chunking
package import System

/// Where the records of a snapshot lie: an index's file, read in place.
///
/// Any bytes are safe to open and to ask; what does not fit is no index, or a record that is not found.
@safe package final class RecordIndex: @unchecked Sendable {
    // Sendable: all of it is immutable once `init` is over.
    package let snapshot: ContentHash
    package let format: RecordFormat
    package let records: UInt64
    /// Of all values that lie in files.
    package let bytes: UInt64
    package let columns: [RecordColumn]
    package let fileCount: Int
    /// Directories that `label` numbers, in byte order.
    package let labelNames: [ByteString]

    let memory: ImageMemory
    let header: IndexHeader
    /// `RecordSelection.encoded`.
    let selection: [UInt8]
    private let plainFiles: UnsafeRawBufferPointer
    private let files: UnsafeMutableBufferPointer<OpenSection>
    /// For each run of `1 << bucketShift` records the file that holds its first one.
    private let buckets: UnsafeMutableBufferPointer<UInt32>
    private let bucketShift: UInt64
    private let columnMap: UnsafeRawBufferPointer

    /// - Throws: `.damaged`.
    convenience init(_ memory: ImageMemory) throws(RecordIndexError) {
        self.init(try OpenedImage(memory))
    }

    private init(_ image: consuming OpenedImage) {
        let records = image.header.records
        let sections = image.sections
        (memory, header) = (image.memory, image.header)
        selection = unsafe Array(image.selection)
        (snapshot, format, bytes) = (image.header.snapshot, image.header.format, image.header.valueBytes)
        (self.records, columns) = (records, image.columns)
        labelNames = image.labels.map { ByteString($0) }
        fileCount = Int(image.header.files)
        unsafe plainFiles = image.plainFiles
        unsafe columnMap = image.columnMap
        unsafe files = .allocate(capacity: sections.count)
        _ = unsafe files.initialize(from: sections)
        var shift: UInt64 = 0
        while records >> shift > UInt64(max(1, sections.count)) * 2 { shift += 1 }
        bucketShift = shift
        unsafe buckets = .allocate(capacity: sections.isEmpty ? 0 : Int(records >> shift) + 1)
        var file = 0
        for bucket in 0..<(unsafe buckets.count) {
            let first = UInt64(bucket) << shift
            while file + 1 < sections.count && sections[file + 1].firstRecord <= first { file += 1 }
            unsafe buckets.initializeElement(at: bucket, to: UInt32(file))
        }
    }

    deinit {
        unsafe files.deinitialize()
        unsafe files.deallocate()
        unsafe buckets.deallocate()
    }

    /// Of its file, without an ending.
    var name: String { Self.name(snapshot, format, selectionTag: RecordSelection.tag(of: selection)) }

    static func name(_ snapshot: ContentHash, _ format: RecordFormat, selectionTag: String) -> String {
        "\(snapshot.hex)-\(format.name)-\(selectionTag)"
    }

    /// - Parameter number: below `fileCount`.
    package func file(_ number: Int) -> IndexedFile {
        if format == .files {
            let (ordinal, _, size) = plainFile(number)
            return IndexedFile(
                ordinal: ordinal, size: size, codec: .plain, decodedSize: size,
                records: UInt64(number)..<UInt64(number) + 1)
        }
        let file = unsafe files[number]
        return IndexedFile(
            ordinal: file.ordinal, size: file.size, codec: file.codec, decodedSize: file.decodedSize,
            records: file.firstRecord..<file.firstRecord + file.records)
    }

    /// The file in which a record begins; nil when there is no such record.
    @inline(__always)
    package func fileNumber(of record: UInt64) -> Int? {
        guard record < records else { return nil }
        if format == .files { return Int(record) }
        var number = unsafe Int(buckets[Int(record >> bucketShift)])
        // Files without records share their first record with the next one.
        while unsafe record - files[number].firstRecord >= files[number].records { number += 1 }
        return number
    }

    /// Where a value of a column in files lies; of length 0 where the record has no such column. Nil when there is no such
    /// record, or the index is damaged there.
    @inline(__always)
    package func place(_ record: UInt64, column: Int = 0) -> RecordPlace? {
        guard let number = fileNumber(of: record) else { return nil }
        if format == .files { return RecordPlace(file: number, offset: 0, length: plainFile(number).size) }
        var local = column
        if format == .tar {
            guard column >= 0, column < columns.count else { return nil }
            local = unsafe Int(columnMap[number * columns.count + column]) - 1
            if local < 0 { return RecordPlace(file: number, offset: 0, length: 0) }
        }
        let file = unsafe files.baseAddress.unsafelyUnwrapped + number
        guard
            let (offset, length) = unsafe file.pointee.place(
                record &- file.pointee.firstRecord, local, header)
        else {
            return nil
        }
        return RecordPlace(file: number, offset: offset, length: length)
    }

    /// Of `RecordFormat.files`: the number of the record's topmost directory; -1 where there is none.
    package func label(_ record: UInt64) -> Int64 {
        guard format == .files, record < records else { return -1 }
        let label = plainFile(Int(record)).label
        return label == IndexFormat.noLabel ? -1 : Int64(label)
    }

    /// Of `RecordFormat.tar`: hands the record's key to `body`; nil as for `place`.
    package func withKey<Result>(_ record: UInt64, _ body: (UnsafeRawBufferPointer) -> Result) -> Result? {
        guard format == .tar, let number = fileNumber(of: record) else { return nil }
        let file = unsafe files[number]
        guard let key = unsafe file.key(record - file.firstRecord) else { return nil }
        return unsafe body(key)
    }

    /// The section of a file that is compressed, for whoever decodes it.
    func section(_ number: Int) -> OpenSection? {
        guard format != .files, number >= 0, number < fileCount else { return nil }
        return unsafe files[number]
    }

    @inline(__always)
    private func plainFile(_ number: Int) -> (ordinal: UInt64, label: UInt32, size: UInt64) {
        let entry = unsafe plainFiles.baseAddress.unsafelyUnwrapped + number * IndexFormat.plainFileLength
        let word = unsafe entry.u64(0)
        return unsafe (word & (1 << 40 - 1), UInt32(word >> 40), entry.u64(8))
    }
}
