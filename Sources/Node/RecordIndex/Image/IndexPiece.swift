/// What was found in one file, as the section of an index.
struct IndexPiece: Sendable {
    var bytes: [UInt8]
    let records: UInt64
    let decodedSize: UInt64
    let valueBytes: UInt64
    /// Columns that a tar's members name.
    let names: [[UInt8]]

    /// - Parameters:
    ///   - places: by `layout`, in numbers of `width` bytes.
    ///   - keys: `(records + 1)` offsets, then the keys.
    init(
        _ layout: SectionLayout, records: UInt64, decodedSize: UInt64, valueBytes: UInt64,
        places: NumberTable,
        names: [[UInt8]] = [], keys: [UInt8] = [], compression: CompressedFile? = nil
    ) {
        (self.records, self.decodedSize, self.valueBytes, self.names) = (
            records, decodedSize, valueBytes, names
        )
        var nameBytes: [UInt8] = []
        for name in names { nameBytes.append(name: name) }
        var bytes = [UInt8](repeating: 0, count: IndexFormat.sectionHeaderLength)
        bytes[0] = layout.rawValue
        bytes[1] = (compression?.codec ?? .plain).rawValue
        bytes[2] = UInt8(places.width)
        bytes.store(littleEndian: UInt32(names.count), at: 4)
        bytes.store(littleEndian: records, at: 8)
        bytes.store(littleEndian: decodedSize, at: 16)
        bytes.store(littleEndian: valueBytes, at: 24)
        bytes.reserveCapacity(bytes.count + places.count * places.width + keys.count + nameBytes.count + 32)
        func part(_ at: Int, _ append: (inout [UInt8]) -> Void) {
            let begin = bytes.count
            append(&bytes)
            bytes.store(littleEndian: UInt64(begin), at: at)
            bytes.store(littleEndian: UInt64(bytes.count - begin), at: at + 8)
            bytes.pad()
        }
        part(32) { places.append(to: &$0) }
        part(48) { $0 += nameBytes }
        part(64) { $0 += keys }
        part(80) { bytes in compression?.append(to: &bytes) }
        self.bytes = bytes
    }

    /// A copy of what an older index has of the same file.
    init(_ section: OpenSection) {
        bytes = unsafe Array(section.bytes)
        (records, decodedSize, valueBytes) = (section.records, section.decodedSize, section.valueBytes)
        names = unsafe IndexNames.read(section.names, most: IndexFormat.mostColumns) ?? []
    }
}

/// Numbers that grow in number: four bytes each as long as that is enough.
struct NumberTable: Sendable {
    private var narrow: [UInt32] = []
    private var wide: [UInt64] = []

    var count: Int { narrow.count + wide.count }
    var width: Int { wide.isEmpty ? 4 : 8 }

    @inline(__always)
    mutating func append(_ value: UInt64) {
        if wide.isEmpty, let value = UInt32(exactly: value) {
            narrow.append(value)
        } else {
            appendWide(value)
        }
    }

    private mutating func appendWide(_ value: UInt64) {
        if wide.isEmpty {
            wide.reserveCapacity(narrow.count * 2)
            for value in narrow { wide.append(UInt64(value)) }
            narrow = []
        }
        wide.append(value)
    }

    func append(to bytes: inout [UInt8]) {
        // Little-endian machines only need a copy; others convert.
        if wide.isEmpty {
            unsafe narrow.map(\.littleEndian).withUnsafeBytes { unsafe bytes.append(contentsOf: $0) }
        } else {
            unsafe wide.map(\.littleEndian).withUnsafeBytes { unsafe bytes.append(contentsOf: $0) }
        }
    }
}
