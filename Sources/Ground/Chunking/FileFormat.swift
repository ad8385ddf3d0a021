import System

/// What a file seems to be, as far as it decides how to cut it.
package enum FileFormat: Sendable, Hashable, CaseIterable {
    case tfrecord
    /// Mostly printable: JSONL, CSV, source, logs, base64.
    case text
    case tar
    case parquet
    case arrow
    /// Already compressed as a whole: an edit changes all that follows, so no cut finds anything again.
    case compressed
    /// Images, audio and video.
    case media
    /// Arrays at fixed offsets: safetensors, npy, HDF5, GGUF.
    case tensors
    case elf
    case unknown

    /// Shifting formats get content-defined cuts. The rest keep their bytes in place or change entirely, and
    /// equal chunks let the kernel map them and offsets be divisions.
    package var chunker: ChunkerKind {
        switch self {
        case .tfrecord: .record
        case .text, .tar, .parquet, .arrow: .cdc
        case .compressed, .media, .tensors, .elf, .unknown: .fixed
        }
    }
}

extension FileFormat {
    /// A name's ending that tells the format when the first bytes do not.
    static let suffixes: [(suffix: ByteString, format: FileFormat)] = [
        (".tfrecord", .tfrecord), (".tfrecords", .tfrecord), (".tfrec", .tfrecord),
        (".arrow", .arrow), (".arrows", .arrow), (".feather", .arrow), (".parquet", .parquet),
        (".tar", .tar), (".safetensors", .tensors), (".gguf", .tensors),
        (".jsonl", .text), (".ndjson", .text), (".json", .text), (".csv", .text), (".tsv", .text),
        (".txt", .text), (".xml", .text), (".sql", .text),
    ]

    /// Bytes at an offset of the file that tell its format. The first match counts.
    static let magics: [(offset: Int, bytes: [UInt8], format: FileFormat)] = [
        (0, [0x1F, 0x8B], .compressed),  // gzip
        (0, [0x28, 0xB5, 0x2F, 0xFD], .compressed),  // zstd
        (0, [0xFD, 0x37, 0x7A, 0x58, 0x5A, 0x00], .compressed),  // xz
        (0, Array("BZh".utf8), .compressed),
        (0, [0x04, 0x22, 0x4D, 0x18], .compressed),  // lz4
        (0, Array("PK".utf8) + [3, 4], .compressed),  // zip: npz, PyTorch, wheels
        (0, Array("7z".utf8) + [0xBC, 0xAF, 0x27, 0x1C], .compressed),
        (0, [0xFF, 0xD8, 0xFF], .media),  // JPEG
        (0, [0x89] + Array("PNG\r\n".utf8), .media),
        (0, Array("GIF8".utf8), .media),
        (0, Array("RIFF".utf8), .media),  // WebP, WAV, AVI
        (0, Array("OggS".utf8), .media),
        (0, Array("fLaC".utf8), .media),
        (4, Array("ftyp".utf8), .media),  // MP4, HEIC, AVIF
        (0, [0x1A, 0x45, 0xDF, 0xA3], .media),  // Matroska, WebM
        (0, [0x93] + Array("NUMPY".utf8), .tensors),
        (0, [0x89] + Array("HDF\r\n".utf8), .tensors),
        (0, Array("GGUF".utf8), .tensors),
        (0, [0x7F] + Array("ELF".utf8), .elf),
        (0, Array("PAR1".utf8), .parquet),
        (0, Array("ARROW1".utf8), .arrow),
        (257, Array("ustar".utf8), .tar),
    ]
}
