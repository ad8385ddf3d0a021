import Chunking
import DatasetStore

/// A shard image of any bytes is refused, or every record of it reads within its bounds.
func fuzzShard(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = UnsafeRawBufferPointer(start: start, count: count)
    guard let view = try? ShardView(bytes, id: .zero) else { return 0 }
    for index in 0..<view.count { _ = view.entry(index) }
    _ = ShardLookupTable.make(for: view)
    _ = view.lowerBound(directory: bytes, name: bytes)
    return 0
}
