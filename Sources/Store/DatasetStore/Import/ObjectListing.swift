import ObjectStore
import System

/// One listed object: 40 bytes, and its texts in the listing's arena.
struct ListedObject {
    var size: UInt64
    var modifiedSeconds: Int64
    /// Name, tag and version id, one after the other.
    var text: UInt64
    var modifiedNanoseconds: UInt32
    /// Index in the listing's directories.
    var directory: UInt32
    var tagLength: UInt16
    /// 0 for none.
    var idLength: UInt16
    var nameLength: UInt8

    var modified: Timestamp { Timestamp(seconds: modifiedSeconds, nanoseconds: modifiedNanoseconds) }
}

/// A directory that some key implies.
struct ListedDirectory {
    /// Components joined by NUL; empty for the root.
    var keyPath: ByteString
    /// Itself for the root.
    var parent: UInt32
    /// The newest object below it.
    var modified: Timestamp?
    /// Where the last component begins in `keyPath`.
    var nameStart: Int
}

/// Takes a source's objects as they are listed, in memory that grows in blocks: about 60 bytes an object and its name,
/// tag and version id.
struct ObjectListing {
    private(set) var objects = BlockArray<ListedObject>()
    private(set) var directories: [ListedDirectory]
    private(set) var texts = TextArena()
    private(set) var skipped = SkippedKeys()
    /// Keys with control characters, which are kept as they are.
    private(set) var oddKeys = KeySample()
    private(set) var archived = KeySample()
    private(set) var listedObjects: UInt64 = 0
    private(set) var listedBytes: UInt64 = 0

    /// Amazon's limit for an object is 5 TiB; packs are made for each 16 GiB of what a listing claims.
    private static let maximumSize: UInt64 = 5 << 40

    private var byPath: [ByteString: UInt32] = ["": 0]
    /// The directory of the last object, whose neighbours mostly share it.
    private var lastPath: [UInt8] = []
    private var lastDirectory: UInt32 = 0

    init() {
        directories = [ListedDirectory(keyPath: "", parent: 0, modified: nil, nameStart: 0)]
    }

    mutating func add(_ object: SourceObject) {
        listedObjects += 1
        listedBytes &+= object.size
        switch unsafe object.key.bytes.withUnsafeBytes({ unsafe ObjectPath($0, size: object.size) }) {
        case .invalid(let problem): skipped.add(problem, object.key)
        case .directory(let length):
            let directory = directory(object.key.bytes[..<length])
            note(object.modified, in: directory)
            if object.size > 0 { skipped.add(.directoryWithBytes, object.key) }
        case .file(let nameStart): addFile(object, nameStart: nameStart)
        }
    }

    /// An object that another entry's path hides.
    mutating func leaveOut(_ index: Int, _ problem: KeyProblem) {
        skipped.add(problem, key(objects[index]))
    }

    private mutating func addFile(_ object: SourceObject, nameStart: Int) {
        guard object.size <= Self.maximumSize else { return skipped.add(.tooLarge, object.key) }
        // Without bytes there is nothing that could change.
        guard object.size == 0 || ReferencedObject(object).isWithinLimits else {
            return skipped.add(.unidentified, object.key)
        }
        let name = object.key.bytes[nameStart...]
        if object.key.bytes.contains(where: { $0 < 0x20 || $0 == 0x7F }) { oddKeys.add(object.key) }
        if object.isArchived { archived.add(object.key) }
        let directory = directory(object.key.bytes[..<max(0, nameStart - 1)])
        note(object.modified, in: directory)
        let tag = object.size == 0 ? "" : object.version.tag
        let id = object.size == 0 ? "" : object.version.id ?? ""
        let text = texts.append(name, tag, id)
        objects.append(
            ListedObject(
                size: object.size, modifiedSeconds: object.modified.seconds, text: text,
                modifiedNanoseconds: object.modified.nanoseconds, directory: directory,
                tagLength: UInt16(tag.utf8.count), idLength: UInt16(id.utf8.count),
                nameLength: UInt8(name.count)))
    }

    private mutating func note(_ modified: Timestamp, in directory: UInt32) {
        let known = directories[Int(directory)].modified
        directories[Int(directory)].modified = known.map { max($0, modified) } ?? modified
    }

    /// The directory of this path, with slashes; made with those above it when it is new.
    private mutating func directory(_ path: ArraySlice<UInt8>) -> UInt32 {
        if path.elementsEqual(lastPath) { return lastDirectory }
        lastPath = Array(path)
        let keyPath = ByteString(path.map { $0 == UInt8(ascii: "/") ? 0 : $0 })
        lastDirectory = byPath[keyPath] ?? make(keyPath)
        return lastDirectory
    }

    private mutating func make(_ keyPath: ByteString) -> UInt32 {
        // The longest path above that is known, then down from it.
        var length = keyPath.count
        var known: UInt32 = 0
        while length > 0 {
            length = keyPath.bytes[..<length].lastIndex(of: 0) ?? 0
            if let found = byPath[ByteString(Array(keyPath.bytes[..<length]))] {
                known = found
                break
            }
        }
        while length < keyPath.count {
            let start = length == 0 ? 0 : length + 1
            length = keyPath.bytes[start...].firstIndex(of: 0) ?? keyPath.count
            let path = ByteString(Array(keyPath.bytes[..<length]))
            directories.append(
                ListedDirectory(keyPath: path, parent: known, modified: nil, nameStart: start))
            known = UInt32(directories.count - 1)
            byPath[path] = known
        }
        return known
    }

    /// Lets go of what only adding needs, and tells each directory the newest time below it. `order` has parents before
    /// their children.
    mutating func close(_ order: [UInt32]) {
        byPath = [:]
        for index in order.reversed() {
            guard let modified = directories[Int(index)].modified else { continue }
            note(modified, in: directories[Int(index)].parent)
        }
    }

    // MARK: - Texts

    func name(_ object: ListedObject) -> UnsafeRawBufferPointer {
        unsafe texts.bytes(object.text, 0, Int(object.nameLength))
    }

    /// What the object is called in its source: its path with slashes.
    func key(_ object: ListedObject) -> ByteString {
        var bytes = directories[Int(object.directory)].keyPath.bytes
        for index in bytes.indices where bytes[index] == 0 { bytes[index] = UInt8(ascii: "/") }
        if !bytes.isEmpty { bytes.append(UInt8(ascii: "/")) }
        unsafe bytes.append(contentsOf: name(object))
        return ByteString(bytes)
    }

    func referenced(_ object: ListedObject) -> ReferencedObject {
        let (name, tag, id) = (Int(object.nameLength), Int(object.tagLength), Int(object.idLength))
        return unsafe ReferencedObject(
            key: key(object), size: object.size,
            version: ObjectVersion(
                tag: String(decoding: texts.bytes(object.text, name, tag), as: UTF8.self),
                id: id == 0 ? nil : String(decoding: texts.bytes(object.text, name + tag, id), as: UTF8.self))
        )
    }
}

/// An array in blocks: growing copies nothing and leaves nothing behind.
struct BlockArray<Element> {
    private static var blockCount: Int { 1 << 15 }
    private var blocks: [[Element]] = []
    private(set) var count = 0

    mutating func append(_ element: Element) {
        if count.isMultiple(of: Self.blockCount) {
            blocks.append([])
            blocks[blocks.count - 1].reserveCapacity(Self.blockCount)
        }
        blocks[blocks.count - 1].append(element)
        count += 1
    }

    subscript(index: Int) -> Element {
        get { blocks[index / Self.blockCount][index % Self.blockCount] }
        set { blocks[index / Self.blockCount][index % Self.blockCount] = newValue }
    }
}

extension BlockArray: Sendable where Element: Sendable {}

/// Short texts in blocks of memory, by offset.
@safe final class TextArena: @unchecked Sendable {
    // Sendable: filled by one thread, only read after that.
    private static let blockLength = 1 << 20
    private var blocks: [UnsafeMutableRawPointer] = unsafe []
    private var used = TextArena.blockLength

    init() {}

    deinit { for index in unsafe blocks.indices { unsafe blocks[index].deallocate() } }

    /// The three lie one after the other. Together they have far less than a block.
    func append(_ name: ArraySlice<UInt8>, _ tag: String, _ id: String) -> UInt64 {
        let length = name.count + tag.utf8.count + id.utf8.count
        precondition(length <= Self.blockLength, "lengths were checked")
        if used + length > Self.blockLength {
            unsafe blocks.append(.allocate(byteCount: Self.blockLength, alignment: 8))
            used = 0
        }
        let offset = unsafe UInt64((blocks.count - 1) * Self.blockLength + used)
        put(name)
        put(tag.utf8)
        put(id.utf8)
        return offset
    }

    private func put(_ part: some Collection<UInt8>) {
        let memory = unsafe UnsafeMutableRawBufferPointer(
            start: blocks[blocks.count - 1] + used, count: part.count)
        unsafe memory.copyBytes(from: part)
        used += part.count
    }

    func bytes(_ text: UInt64, _ offset: Int, _ count: Int) -> UnsafeRawBufferPointer {
        let start = Int(text)
        return unsafe UnsafeRawBufferPointer(
            start: blocks[start / Self.blockLength] + start % Self.blockLength + offset, count: count)
    }
}
