/// What a file's name tells about its format.
extension RecordFormat {
    /// The format that such a file is of: by its ending before those of a compression and of a shard ("-00000-of-00010").
    /// Nil for every other name.
    init?(fileName name: UnsafeRawBufferPointer) {
        let whole = unsafe Ending(name: name, end: name.count)
        var ending = whole.withoutShard
        if ending.isOne(of: [".tgz"]) {
            self = .tar
            return
        }
        for packed in [".gz", ".gzip", ".zlib"] as [StaticString] where ending.isOne(of: [packed]) {
            ending.end -= packed.utf8CodeUnitCount
            ending = ending.withoutShard
            break
        }
        if ending.isOne(of: [".tfrecord", ".tfrecords", ".tfrec"]) {
            self = .tfrecord
        } else if ending.isOne(of: [".tar"]) {
            self = .tar
        } else if ending.isOne(of: [".jsonl", ".ndjson"]) {
            self = .jsonl
        } else {
            return nil
        }
    }

    /// Whether a file is Parquet by its name. Its rows are no runs of bytes: a column's values lie encoded (dictionaries,
    /// bit-packed runs) in pages that are compressed besides, so a feed of them would hand out pages that only a Parquet
    /// reader can make anything of. Such files are fed whole, and only to those who say so.
    static func isParquet(fileName name: UnsafeRawBufferPointer) -> Bool {
        unsafe Ending(name: name, end: name.count).isOne(of: [".parquet"])
    }

    /// For people and the command line.
    package var name: String {
        switch self {
        case .tfrecord: "tfrecord"
        case .files: "files"
        case .tar: "tar"
        case .jsonl: "jsonl"
        case .fixed: "fixed"
        }
    }
}

/// A name up to some byte, seen from there. No strings: it looks at every file of a snapshot.
@safe private struct Ending {
    let name: UnsafeRawBufferPointer
    var end: Int

    func isOne(of endings: [StaticString]) -> Bool {
        endings.contains { ending in
            let count = ending.utf8CodeUnitCount
            guard count < end else { return false }
            return (0..<count).allSatisfy { index in
                let byte = unsafe name[end - count + index]
                let lower = (0x41...0x5A).contains(byte) ? byte + 0x20 : byte
                return unsafe lower == ending.utf8Start[index]
            }
        }
    }

    /// Up to "-00000-of-00010", if it ends so.
    var withoutShard: Ending {
        var shorter = self
        guard shorter.dropDigits(), shorter.isOne(of: ["-of-"]) else { return self }
        shorter.end -= 4
        guard shorter.dropDigits(), shorter.isOne(of: ["-"]) else { return self }
        shorter.end -= 1
        return shorter
    }

    private mutating func dropDigits() -> Bool {
        let before = end
        while end > 0, (0x30...0x39).contains(unsafe name[end - 1]) { end -= 1 }
        return end < before
    }
}
