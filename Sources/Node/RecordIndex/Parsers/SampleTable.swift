/// Members of a tar, grouped into records as WebDataset does: neighbours with one stem are a record, and what follows the
/// first dot of the last path component names the column.
struct SampleTable {
    private(set) var records: UInt64 = 0
    private var valueBytes: UInt64 = 0
    private var columns: [[UInt8]] = []
    private var columnNumbers: [[UInt8]: Int] = [:]
    /// (column, offset, length) of each member, and for each record its first.
    private var members: [(column: UInt16, offset: UInt64, length: UInt64)] = []
    private var firstMembers: [Int] = []
    private var keyOffsets: [UInt8] = []
    private var keys: [UInt8] = []
    private var stem: [UInt8]?

    enum Outcome: Equatable {
        case taken
        /// No extension, so no column.
        case hasNoColumn
        /// The record has such a member already.
        case isTwice
        case tooMany
    }

    mutating func append(name: [UInt8], offset: UInt64, length: UInt64) -> Outcome {
        let last = name.lastIndex(of: UInt8(ascii: "/")).map { $0 + 1 } ?? 0
        guard let dot = name[last...].firstIndex(of: UInt8(ascii: ".")), dot > last, dot + 1 < name.count
        else {
            return .hasNoColumn
        }
        // WebDataset takes extensions in lower case.
        let column = name[(dot + 1)...].map { (0x41...0x5A).contains($0) ? $0 + 0x20 : $0 }
        guard let number = number(of: column) else { return .tooMany }
        let key = name[..<dot]
        if stem.map({ $0.elementsEqual(key) }) == true {
            let first = firstMembers.last ?? 0
            if members[first...].contains(where: { $0.column == UInt16(number) }) { return .isTwice }
        } else {
            guard records < IndexFormat.mostRecordsOfFile - 1, let offset = UInt32(exactly: keys.count) else {
                return .tooMany
            }
            stem = Array(key)
            keyOffsets.append(littleEndian: offset)
            keys += key
            firstMembers.append(members.count)
            records += 1
        }
        members.append((UInt16(number), offset, length))
        valueBytes &+= length
        return .taken
    }

    /// Nil when the keys are too long for an index.
    func piece(decodedSize: UInt64, _ compression: CompressedFile?) -> IndexPiece? {
        guard let end = UInt32(exactly: keys.count) else { return nil }
        var offsets = keyOffsets
        offsets.append(littleEndian: end)
        var places = NumberTable()
        var row = [(offset: UInt64, length: UInt64)](repeating: (0, 0), count: columns.count)
        for record in firstMembers.indices {
            let next = record + 1 < firstMembers.count ? firstMembers[record + 1] : members.count
            for column in row.indices { row[column] = (0, 0) }
            for member in members[firstMembers[record]..<next] {
                row[Int(member.column)] = (member.offset, member.length)
            }
            for value in row {
                places.append(value.offset)
                places.append(value.length)
            }
        }
        return IndexPiece(
            .spans, records: records, decodedSize: decodedSize, valueBytes: valueBytes, places: places,
            names: columns,
            keys: offsets + keys, compression: compression)
    }

    private mutating func number(of column: [UInt8]) -> Int? {
        if let number = columnNumbers[column] { return number }
        guard columns.count < IndexFormat.mostColumns - 1, column.count <= IndexFormat.longestName,
            String(validating: column, as: UTF8.self) != nil
        else { return nil }
        columns.append(column)
        columnNumbers[column] = columns.count - 1
        return columns.count - 1
    }
}
