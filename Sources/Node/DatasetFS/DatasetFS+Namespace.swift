import DatasetStore
package import System

/// Names, attributes and listings: answered from the manifest alone.
extension DatasetFS {
    package func lookup(
        _ name: UnsafeRawBufferPointer, in parent: Inode
    ) throws(Errno) -> NodeAttributes? {
        let directory = try place(of: parent)
        guard directory.record.kind == .directory else { throw .notDirectory }
        // An empty name is the root's own; nobody else has one.
        if unsafe name.isEmpty { return nil }
        let found = try unsafe withKeyPath(of: directory) { path throws(Errno) in
            do throws(StoreError) { return try unsafe snapshot.place(directory: path, name: name) } catch {
                throw report(error, at: directory)
            }
        }
        guard let found else { return nil }
        return attributes(of: try resolved(found))
    }

    package func attributes(of inode: Inode) throws(Errno) -> NodeAttributes {
        attributes(of: try place(of: inode))
    }

    package func readLink(_ inode: Inode, _ body: (UnsafeRawBufferPointer) -> Void) throws(Errno) {
        let place = try place(of: inode)
        guard place.record.kind == .symlink else { throw .invalid }
        unsafe body(place.record.target)
    }

    /// Cookies: 0 is `.`, 1 is `..`, 2 and up the children in order; so they hold across restarts.
    package func list(
        _ directory: Inode, from cookie: UInt64, _ body: (borrowing ListedEntry) -> Bool
    ) throws(Errno) {
        let place = try place(of: directory)
        guard place.record.kind == .directory else { throw .notDirectory }
        if cookie == 0 {
            guard give(".", try attributes(of: directory), next: 1, body) else { return }
        }
        if cookie <= 1 {
            guard give("..", try parentAttributes(of: place), next: 2, body) else { return }
        }
        let children = try unsafe withKeyPath(of: place) { path throws(Errno) in
            do throws(StoreError) { return try unsafe snapshot.children(of: path) } catch {
                throw report(error, at: place)
            }
        }
        // The root's own record stands before its children.
        let first = children.lowerBound + (place.ordinal == 0 ? 1 : 0)
        let (start, overflow) = first.addingReportingOverflow(cookie > 2 ? cookie - 2 : 0)
        guard !overflow, start < children.upperBound else { return }
        for ordinal in start..<children.upperBound {
            let child = try self.place(of: Inode(rawValue: ordinal + 1))
            let entry = unsafe ListedEntry(
                name: child.record.name, attributes: attributes(of: try resolved(child)),
                nextCookie: ordinal - first + 3)
            guard body(entry) else { return }
        }
    }

    private func give(
        _ name: StaticString, _ attributes: NodeAttributes, next: UInt64,
        _ body: (borrowing ListedEntry) -> Bool
    ) -> Bool {
        let bytes = unsafe UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount)
        return unsafe body(ListedEntry(name: bytes, attributes: attributes, nextCookie: next))
    }

    private func parentAttributes(of place: Snapshot.Place) throws(Errno) -> NodeAttributes {
        let path = unsafe place.shard.pointee.view.directoryPath(place.record.directory)
        if unsafe path.isEmpty { return try attributes(of: Inode.root) }
        let split = unsafe path.lastIndex(of: 0)
        let directory = unsafe UnsafeRawBufferPointer(rebasing: path[..<(split ?? 0)])
        let name = unsafe UnsafeRawBufferPointer(rebasing: path[(split.map { $0 + 1 } ?? 0)...])
        do throws(StoreError) {
            if let parent = try unsafe snapshot.place(directory: directory, name: name) {
                return attributes(of: parent)
            }
        } catch {
            throw report(error, at: place)
        }
        throw .stale
    }
}
