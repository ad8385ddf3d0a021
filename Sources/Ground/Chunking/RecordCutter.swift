/// Cuts a TFRecord file at record ends, so that a record keeps its chunk when shards are regrouped.
///
/// A chunk that starts where a record starts takes records one after the other. With `taken` the bytes it
/// has so far and `total` the length of the next record, frame included, by the first rule that applies:
///
/// 1. No valid record follows (fewer than 12 bytes left, a wrong length checksum, or `total` beyond the end
///    of the file): the chunk ends before it; from that point to the end of the file, cuts are `CDC`'s.
/// 2. `taken > 0` and (`total >= minimum` or `taken + total > maximum`): the chunk ends before the record.
/// 3. `total > maximum`: the record is cut into pieces of `maximum` bytes and a shorter last one, each a chunk.
/// 4. `total >= minimum`: the record alone is the chunk.
/// 5. The record is taken. If then `taken >= minimum`, the chunk ends after it when
///    `fingerprint(record) < total * floor((2^64 - 1) / (average - minimum + 1))`: a chance in proportion to
///    the record's length, so chunks average about `average` bytes whatever the size of records.
/// 6. The chunk ends at `maximum` and at the end of the file.
///
/// So a record of at least `minimum` bytes is found again wherever it went, and runs of smaller ones
/// are found again from the first cut that two files share.
struct RecordCutter: Sendable {
    private let sizes: ContentDefinedSizes
    private let fallback: CDC
    private let chancePerByte: UInt64
    /// Bytes of the file that come after what was cut off so far.
    private var remaining: UInt64
    /// Bytes of a record longer than `maximum` that are still to come.
    private var restOfRecord: UInt64 = 0
    /// No longer a TFRecord: `CDC` cuts the rest.
    private var hasFallenBack = false

    init(_ sizes: ContentDefinedSizes, fallback: CDC, fileSize: UInt64) {
        self.sizes = sizes
        self.fallback = fallback
        remaining = fileSize
        chancePerByte = .max / UInt64(sizes.average - sizes.minimum + 1)
    }

    /// Bytes that a decision needs: the longest chunk and the header of the record after it.
    static func lookahead(_ sizes: ContentDefinedSizes) -> Int { sizes.maximum + RecordFraming.header }

    /// The length of the chunk at the start of `bytes`, which hold the look-ahead or end the file.
    mutating func nextCut(in bytes: UnsafeRawBufferPointer) -> Int {
        let cut = unsafe decide(bytes)
        let (rest, underflow) = remaining.subtractingReportingOverflow(UInt64(cut))
        remaining = underflow ? 0 : rest
        return cut
    }

    private mutating func decide(_ bytes: UnsafeRawBufferPointer) -> Int {
        if hasFallenBack { return unsafe fallback.firstCut(in: bytes) }
        if restOfRecord > 0 { return unsafe nextPiece(bytes) }
        let minimum = UInt64(sizes.minimum)
        var taken = 0
        while taken < sizes.maximum, taken < bytes.count {
            let next = unsafe RecordFraming.recordLength(in: bytes, at: taken)
            guard let total = next, total <= left(after: taken) else {
                hasFallenBack = true
                return unsafe taken > 0 ? taken : fallback.firstCut(in: bytes)
            }
            let fits = total <= UInt64(sizes.maximum - taken)
            if taken > 0, total >= minimum || !fits { return taken }
            if !fits {
                restOfRecord = total
                return unsafe nextPiece(bytes)
            }
            // Fits the maximum but not the buffer: the file ended early, although its size said otherwise.
            guard total <= UInt64(bytes.count - taken) else {
                hasFallenBack = true
                return unsafe taken > 0 ? taken : fallback.firstCut(in: bytes)
            }
            let end = taken + Int(total)
            if total >= minimum { return end }
            taken = end
            if taken >= sizes.minimum, unsafe endsChunk(bytes, end: end, total: total) { return taken }
        }
        return taken
    }

    /// Bytes of the file after the next `taken`. From the file's size and not from the buffer's, so that cuts
    /// do not depend on how much the caller has at hand.
    private func left(after taken: Int) -> UInt64 {
        let (rest, underflow) = remaining.subtractingReportingOverflow(UInt64(taken))
        return underflow ? 0 : rest
    }

    private func endsChunk(_ bytes: UnsafeRawBufferPointer, end: Int, total: UInt64) -> Bool {
        let trailer = unsafe UInt32(
            littleEndian: bytes.loadUnaligned(fromByteOffset: end - 4, as: UInt32.self))
        let (chance, always) = chancePerByte.multipliedReportingOverflow(by: total)
        return always || RecordFraming.fingerprint(length: total, trailer: trailer) < chance
    }

    private mutating func nextPiece(_ bytes: UnsafeRawBufferPointer) -> Int {
        let wanted = Int(Swift.min(restOfRecord, UInt64(sizes.maximum)))
        guard wanted <= bytes.count else {
            restOfRecord = 0
            hasFallenBack = true
            return bytes.count
        }
        restOfRecord -= UInt64(wanted)
        return wanted
    }
}
