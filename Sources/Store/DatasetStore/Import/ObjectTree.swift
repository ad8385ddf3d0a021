import System

/// Listed objects as a tree, in the manifest's order.
struct ObjectTree {
    private(set) var listing: ObjectListing
    /// Directories in the order of their key paths.
    let directoryOrder: [UInt32]
    /// Objects that become files, in the manifest's order.
    private(set) var objectOrder: [UInt32]
    /// By rank in `directoryOrder`: where the directory's objects begin in `objectOrder`; one more at the end.
    private var objectStarts: [Int]
    /// Children that are directories, of each rank in name order, and where they begin.
    private let children: [UInt32]
    private let childStarts: [Int]

    /// What stands at a place of the tree.
    enum Entry {
        /// Index in the listing's directories.
        case directory(UInt32)
        /// Index in `objectOrder`.
        case object(Int)
    }

    init(_ listed: consuming ObjectListing) {
        let directories = listed.directories
        let order = (0..<UInt32(directories.count)).sorted {
            directories[Int($0)].keyPath < directories[Int($1)].keyPath
        }
        listed.close(order)
        var ranks = [Int](repeating: 0, count: directories.count)
        for (rank, index) in order.enumerated() { ranks[Int(index)] = rank }
        let objects = listed.objects
        (objectOrder, objectStarts) = Self.grouped(objects.count, groups: directories.count) { index in
            ranks[Int(objects[index].directory)]
        }
        // Parents come first, so siblings come in the order of their names; the root, the first of all, is nobody's child.
        let (byParent, starts) = Self.grouped(directories.count - 1, groups: directories.count) { index in
            ranks[Int(directories[Int(order[index + 1])].parent)]
        }
        children = byParent.map { order[Int($0) + 1] }
        childStarts = starts
        directoryOrder = order
        listing = listed
        sortNames()
        leaveOutHidden()
    }

    /// Numbers by group, in rising order within each, and where each group begins.
    private static func grouped(
        _ count: Int, groups: Int, _ group: (Int) -> Int
    ) -> (order: [UInt32], starts: [Int]) {
        var starts = [Int](repeating: 0, count: groups + 1)
        for index in 0..<count { starts[group(index) + 1] += 1 }
        for index in 0..<groups { starts[index + 1] += starts[index] }
        var next = starts
        var order = [UInt32](repeating: 0, count: count)
        for index in 0..<count {
            let place = group(index)
            order[next[place]] = UInt32(index)
            next[place] += 1
        }
        return (order, starts)
    }

    private func compareNames(_ left: UInt32, _ right: UInt32) -> Int {
        unsafe KeyOrder.compare(
            listing.name(listing.objects[Int(left)]), listing.name(listing.objects[Int(right)]))
    }

    /// A source lists keys in order, so that names come sorted; one that does not is put right.
    private mutating func sortNames() {
        for rank in directoryOrder.indices {
            let range = objectStarts[rank]..<objectStarts[rank + 1]
            let isSorted = range.dropFirst().allSatisfy {
                compareNames(objectOrder[$0 - 1], objectOrder[$0]) <= 0
            }
            if isSorted { continue }
            let sorted = objectOrder[range].sorted { left, right in
                let order = compareNames(left, right)
                return order != 0 ? order < 0 : left < right
            }
            objectOrder.replaceSubrange(range, with: sorted)
        }
    }

    /// Of objects of one path the first counts, and a directory hides the object of its name.
    private mutating func leaveOutHidden() {
        var kept: [UInt32] = []
        kept.reserveCapacity(objectOrder.count)
        var starts = [0]
        starts.reserveCapacity(objectStarts.count)
        for rank in directoryOrder.indices {
            var child = childStarts[rank]
            for position in objectStarts[rank]..<objectStarts[rank + 1] {
                let object = objectOrder[position]
                while child < childStarts[rank + 1], compare(directory: children[child], with: object) < 0 {
                    child += 1
                }
                let isHidden =
                    child < childStarts[rank + 1] && compare(directory: children[child], with: object) == 0
                let isRepeated = kept.count > starts[rank] && compareNames(kept[kept.count - 1], object) == 0
                if isHidden {
                    listing.leaveOut(Int(object), .shadowedByDirectory)
                } else if isRepeated {
                    listing.leaveOut(Int(object), .listedTwice)
                } else {
                    kept.append(object)
                }
            }
            starts.append(kept.count)
        }
        objectOrder = kept
        objectStarts = starts
    }

    private func compare(directory: UInt32, with object: UInt32) -> Int {
        let directory = listing.directories[Int(directory)]
        return unsafe directory.keyPath.bytes.withUnsafeBytes { path in
            unsafe KeyOrder.compare(
                UnsafeRawBufferPointer(rebasing: path[directory.nameStart...]),
                listing.name(listing.objects[Int(object)]))
        }
    }

    /// Calls `body` with every entry but the root, and the key path of the directory it lies in.
    func forEachEntry(
        _ body: (_ directory: ByteString, Entry) throws(StoreError) -> Void
    ) throws(StoreError) {
        for rank in directoryOrder.indices {
            let path = listing.directories[Int(directoryOrder[rank])].keyPath
            var child = childStarts[rank]
            for position in objectStarts[rank]..<objectStarts[rank + 1] {
                while child < childStarts[rank + 1],
                    compare(directory: children[child], with: objectOrder[position]) < 0
                {
                    try body(path, .directory(children[child]))
                    child += 1
                }
                try body(path, .object(position))
            }
            while child < childStarts[rank + 1] {
                try body(path, .directory(children[child]))
                child += 1
            }
        }
    }

    /// Objects that become files.
    var objectCount: Int { objectOrder.count }

    func object(_ position: Int) -> ListedObject { listing.objects[Int(objectOrder[position])] }

    func directory(_ index: UInt32) -> ListedDirectory { listing.directories[Int(index)] }

    /// The root's own time: the newest object's.
    var rootModified: Timestamp? { listing.directories[0].modified }
}
