/// Finds the records of one file in its decoded bytes, which it is given in order, in pieces of any length. No I/O.
protocol RecordParser {
    /// - Throws: `.damaged`, `.unsupported`.
    mutating func take(_ bytes: UnsafeRawBufferPointer) throws(RecordIndexError)
    /// Of the bytes that come next, those that need not be looked at.
    var idle: UInt64 { get }
    /// Goes over bytes unseen, at most `idle` of them.
    mutating func skip(_ count: UInt64)
    /// After the last byte.
    mutating func finish(_ compression: CompressedFile?) throws(RecordIndexError) -> IndexPiece
}
