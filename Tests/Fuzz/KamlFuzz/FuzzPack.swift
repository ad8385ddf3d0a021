import Chunking
import DatasetStore

/// A footer of any bytes, with a hash that fits it, is refused, or every entry lies inside pack and container.
///
/// The first 80 bytes are the reference to the pack, so that the fuzzer can make the two agree; the hash is
/// made here, since no mutation would find it.
func fuzzPack(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = UnsafeRawBufferPointer(start: start, count: count)
    _ = FrameHeader(bytes)
    guard count > 32, let start else { return 0 }
    let body = Array(bytes[24...])
    let hash = ContentHash.of(.packFooter, body)
    let length = UInt32(body.count + PackFormat.trailerLength)
    let pack = PackReference(
        id: PackID(high: 0, low: 0), footerHash: hash,
        objectSize: UnsafeRawPointer(start).loadUnaligned(fromByteOffset: 0, as: UInt64.self),
        containerSize: UnsafeRawPointer(start).loadUnaligned(fromByteOffset: 8, as: UInt64.self),
        footerLength: length,
        chunkCount: UnsafeRawPointer(start).loadUnaligned(fromByteOffset: 16, as: UInt32.self),
        layout: count.isMultiple(of: 2) ? .slots : .file)
    guard pack.isWithinLimits else { return 0 }
    var footer = body + hash.bytes
    withUnsafeBytes(of: length.littleEndian) { footer.append(contentsOf: $0) }
    footer += [0, 0, 0, 0] + Array("KAMLPEND".utf8)
    footer.withUnsafeBytes { footer in
        guard let view = try? PackFooter(footer, of: pack) else { return }
        for index in 0..<view.chunkCount {
            let entry = view[index]
            if let place = view.referenced(index), let sources = view.sources {
                precondition(place.range.upperBound <= sources[place.object].size)
            } else {
                precondition(entry.frame.upperBound <= pack.objectSize)
            }
            precondition(entry.containerOffset + UInt64(entry.plainLength) <= pack.containerSize)
            _ = view.chunk(at: entry.containerOffset)
        }
        _ = view.basePacks
    }
    return 0
}
