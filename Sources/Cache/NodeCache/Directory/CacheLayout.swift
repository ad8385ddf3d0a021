import Chunking
import DatasetStore
import System

/// Where the cache's files are.
///
/// ```
/// VERSION                       format of the directory, a number
/// lock                          flock(2)ed by the one process that uses it; holds its pid
/// statistics                    what the cache did so far, `key value` lines
/// containers/<2 hex>/<id>.data  plain bytes of a pack's chunks, sparse
/// containers/<2 hex>/<id>.map   which of them are there (ContainerMap)
/// containers/<2 hex>/<id>.hashes what imported objects were found to hold (ReferenceHashes)
/// manifests/<id>                decompressed manifest images (ManifestFile)
/// indexes/                      where the records of snapshots lie (RecordIndexes of the feeds, which write and trim it)
/// pins                          leases on packs (PinTable)
/// index                         whose containers are whose (PolicyIndex)
/// scrub                         where the scrubber is
/// aside/                        what stood in the place of a container and was no file
/// ```
struct CacheLayout: Sendable {
    /// Version of the directory's format; a directory of a newer one is refused.
    static let version = 1

    let directory: ByteString

    var version: ByteString { directory.appending("VERSION") }
    var lock: ByteString { directory.appending("lock") }
    var statistics: ByteString { directory.appending("statistics") }
    var containers: ByteString { directory.appending("containers") }
    var manifests: ByteString { directory.appending("manifests") }
    var indexes: ByteString { directory.appending("indexes") }
    var pins: ByteString { directory.appending("pins") }
    var index: ByteString { directory.appending("index") }
    var scrub: ByteString { directory.appending("scrub") }
    var aside: ByteString { directory.appending("aside") }

    func containerFolder(_ id: PackID) -> ByteString {
        containers.appending(ByteString(String(id.description.prefix(2))))
    }
    func data(_ id: PackID) -> ByteString {
        containerFolder(id).appending(ByteString(id.description + ".data"))
    }
    func map(_ id: PackID) -> ByteString {
        containerFolder(id).appending(ByteString(id.description + ".map"))
    }
    func hashes(_ id: PackID) -> ByteString {
        containerFolder(id).appending(ByteString(id.description + ".hashes"))
    }
    func manifest(_ id: ContentHash) -> ByteString { manifests.appending(ByteString(id.hex)) }

    /// The pack of a container's file, `<id>.data` or `<id>.map`; nil for every other name.
    static func packID(of name: ByteString) -> PackID? {
        let parts = name.description.split(separator: ".")
        guard parts.count == 2, parts[1] == "data" || parts[1] == "map" else { return nil }
        return PackID(hex: String(parts[0]))
    }

    /// The pack of a file name `<id>.map`; nil for every other name.
    static func packID(ofMap name: ByteString) -> PackID? {
        let text = name.description
        guard text.hasSuffix(".map") else { return nil }
        return PackID(hex: String(text.dropLast(4)))
    }
}
