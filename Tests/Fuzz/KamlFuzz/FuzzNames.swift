import Chunking
import DatasetStore
import KamlTestSupport
import System

private let snapshot: Snapshot? = {
    let objects = ManifestObjects(store: MemoryObjectStore())
    var writer = ManifestWriter(objects: objects, parent: nil)
    let time = Timestamp(seconds: 0, nanoseconds: 0)
    func entry(_ directory: ByteString, _ name: ByteString, _ contents: ManifestEntry.Contents)
        -> ManifestEntry
    {
        ManifestEntry(
            directory: directory, name: name, mode: contents == .directory ? 0o040755 : 0o100644, userID: 0,
            groupID: 0,
            modified: time, size: 0, contents: contents)
    }
    try? writer.append(entry("", "", .directory))
    try? writer.append(entry("", "a", .directory))
    try? writer.append(entry("", "b", .empty))
    try? writer.append(entry("a", "c", .empty))
    guard let result = try? writer.finish() else { return nil }
    return try? Snapshot(result.snapshot, from: StoreManifestSource(objects: objects))
}()

/// Names as the kernel hands them over: any bytes are looked up in a small snapshot without a trap.
func fuzzNames(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = UnsafeRawBufferPointer(start: start, count: count)
    let split = bytes.firstIndex(of: 0) ?? 0
    let directory = UnsafeRawBufferPointer(rebasing: bytes[..<split])
    let name = UnsafeRawBufferPointer(rebasing: bytes[split...])
    guard let snapshot else { preconditionFailure("the snapshot could not be made") }
    if let place = try? snapshot.place(directory: directory, name: name) {
        precondition(place.record.name.elementsEqual(name))
    }
    _ = try? snapshot.children(of: bytes)
    _ = ByteString(bytes).description
    return 0
}
