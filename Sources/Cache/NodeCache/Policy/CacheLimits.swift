import System

/// How much a cache may take of its disk and of the process. Can be changed while the cache runs.
package struct CacheLimits: Sendable, Hashable {
    /// Bytes of blocks of all files of the cache; nil for as much as the disk has.
    package var bytes: UInt64?
    /// Files of the cache; nil for as many as the disk takes.
    package var inodes: UInt64?
    /// Bytes of its disk that stay free, whoever fills the rest; nil for a twentieth of the disk, at most 4 GiB.
    package var freeBytes: UInt64?
    /// Inodes of its disk that stay free; nil for a hundredth of them.
    package var freeInodes: UInt64?
    /// Containers that are open at a time, each with two or three descriptors and a mapping; nil for what
    /// the process's limit of descriptors allows.
    package var openContainers: Int?
    /// Memory for the footers of packs, which is given back when they were not used for a moment.
    package var footerBytes = 64 << 20

    package init() {}

    /// The limits in force, given what the cache has and what its disk has left.
    struct Room: Hashable {
        var bytes: Int
        var inodes: Int
    }

    func room(usedBytes: Int, usedInodes: Int, _ space: FileSystemSpace?) -> Room {
        var room = Room(
            bytes: bytes.map { Int(clamping: $0) } ?? .max, inodes: inodes.map { Int(clamping: $0) } ?? .max)
        guard let space else { return room }
        let keptBytes = freeBytes ?? min(space.totalBytes / 20, 4 << 30)
        room.bytes = min(
            room.bytes, Self.sum(usedBytes, Int(clamping: space.availableBytes), -Int(clamping: keptBytes)))
        // Some file systems count no inodes, and say that there are none.
        if space.totalInodes > 0 {
            let keptInodes = freeInodes ?? space.totalInodes / 100
            room.inodes = min(
                room.inodes,
                Self.sum(usedInodes, Int(clamping: space.availableInodes), -Int(clamping: keptInodes)))
        }
        return room
    }

    private static func sum(_ terms: Int...) -> Int {
        max(0, terms.reduce(0) { $0.addingReportingOverflow($1).overflow ? .max : $0 + $1 })
    }

    /// Containers that may be open with so many descriptors for the process; half of them are for others.
    func openLimit(descriptors: Int) -> Int {
        max(8, min(openContainers ?? .max, descriptors / 6))
    }
}
