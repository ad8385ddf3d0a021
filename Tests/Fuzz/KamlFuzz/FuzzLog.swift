import DatasetStore

/// Any bytes as a log object, and any bytes as the message inside a well-sealed one.
func fuzzLog(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = Array(UnsafeRawBufferPointer(start: start, count: count))
    _ = try? LogEnvelope.open(bytes)
    for type: UInt16 in 16...19 {
        guard let sealed = LogEnvelope.seal(type: type, bytes),
            let read = try? LogRecord.decoded(sealed.bytes)
        else {
            continue
        }
        precondition(read.record.encoded() != nil)
    }
    _ = try? SnapshotReference(String(decoding: bytes, as: UTF8.self))
    return 0
}
