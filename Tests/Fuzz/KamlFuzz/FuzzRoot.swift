import Chunking
import DatasetStore

/// A root image of any bytes is refused, or all it lists reads within its bounds.
func fuzzRoot(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = UnsafeRawBufferPointer(start: start, count: count)
    guard let root = try? RootView(bytes, id: .zero) else { return 0 }
    for index in 0..<root.shardCount { _ = root.shard(index) }
    _ = root.packs
    return 0
}
