/// How records lie in files. The numbers are those of an index's file and of `kaml.feed.v1.Format`.
package enum RecordFormat: UInt8, Sendable, CaseIterable {
    /// TFRecord, plain, gzip or zlib.
    case tfrecord = 1
    /// A file is a record.
    case files = 2
    /// WebDataset: neighbouring members of a tar with one stem are a record.
    case tar = 3
    /// A line is a record, without its line end.
    case jsonl = 4
    /// Records of equal length.
    case fixed = 5
}

/// What a feed gives of every record under one name.
package struct RecordColumn: Sendable, Hashable {
    /// Where the values are found.
    package enum Source: UInt8, Sendable {
        /// In the snapshot's files: `RecordIndex.place`.
        case file = 0
        /// `RecordIndex.label`.
        case label = 1
        /// The path of the record's file: `Snapshot.path(ofOrdinal:)`.
        case path = 2
        /// The stem of a tar's members: `RecordIndex.withKey`.
        case key = 3
    }

    package var name: String
    package var source: Source
    /// Bytes of each value where all are equally long, as in `RecordFormat.fixed`; 0 otherwise.
    package var width: UInt32

    package init(name: String, source: Source, width: UInt32 = 0) {
        self.name = name
        self.source = source
        self.width = width
    }
}

/// How a file's bytes are packed.
package enum FileCodec: UInt8, Sendable {
    case plain = 0
    case gzip = 1
    case zlib = 2
}

/// A file of the snapshot that holds records.
package struct IndexedFile: Sendable, Hashable {
    /// Of its entry in the snapshot; that of a hard link names the link (`Snapshot.resolve`).
    package var ordinal: UInt64
    /// As it lies in the snapshot.
    package var size: UInt64
    package var codec: FileCodec
    /// Bytes once it is decoded; `size` for a plain file.
    package var decodedSize: UInt64
    /// The records that begin in it.
    package var records: Range<UInt64>

    package init(
        ordinal: UInt64, size: UInt64, codec: FileCodec, decodedSize: UInt64, records: Range<UInt64>
    ) {
        self.ordinal = ordinal
        self.size = size
        self.codec = codec
        self.decodedSize = decodedSize
        self.records = records
    }
}

/// Where a value's bytes lie: in a file, counted in its decoded bytes. Within the file.
package struct RecordPlace: Sendable, Hashable {
    /// Number of the file in the index.
    package var file: Int
    package var offset: UInt64
    package var length: UInt64

    package init(file: Int, offset: UInt64, length: UInt64) {
        self.file = file
        self.offset = offset
        self.length = length
    }
}
