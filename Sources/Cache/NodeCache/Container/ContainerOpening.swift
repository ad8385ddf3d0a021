import DatasetStore
import Glibc
import System

/// Opens a container's files, or makes them.
struct ContainerOpening {
    let context: CacheContext
    let pack: PackReference
    /// Files that were made for another description of the pack are given up.
    var replaces = false

    /// Whether the files were made for another description of the pack: one of the two is wrong.
    func isForAnother() -> Bool {
        guard let bytes = try? readFile(mapPath, limit: ContainerMap.headerLength, context.files),
            let header = unsafe bytes.withUnsafeBytes({ unsafe ContainerMap($0) })
        else { return false }
        return header.pack.id == pack.id && header.pack != pack
    }

    /// Whether there is a container to open, so that none has to be made.
    var exists: Bool { (try? context.files.status(of: dataPath)) != nil }

    /// The files and what they vouch for. Throws when the disk does not give or take them.
    func open() throws(Errno) -> (disk: ContainerDisk, bitmap: PresenceBitmap) {
        // Whoever has the old files open goes on with them.
        if !replaces, let data = try openData() {
            if let map = try openMap() {
                return (
                    disk(data, map.file, map.seal, isClean: map.isClean, hasFooter: map.hasFooter), map.bitmap
                )
            }
            // What another key sealed, or what was in the clear, does not stay.
            if context.sealing == nil { return (try newDisk(data), emptyBitmap) }
        }
        // Without its data a map is a lie, so it goes first.
        try remove(mapPath)
        return (try newDisk(try makeData()), emptyBitmap)
    }

    /// A data file with a map of which no bit is set.
    private func newDisk(_ data: consuming FileDescriptor) throws(Errno) -> ContainerDisk {
        let seal = try newSeal()
        return disk(data, try makeMap(seal), seal, isClean: false, hasFooter: false)
    }

    private func newSeal() throws(Errno) -> ContainerSeal? {
        guard let sealing = context.sealing else { return nil }
        guard let seal = try? ContainerSeal(newFor: pack, sealing.keys, sealing.pool) else {
            throw .inputOutput
        }
        return seal
    }

    private var emptyBitmap: PresenceBitmap { PresenceBitmap(count: Int(pack.chunkCount)) }

    private var dataPath: ByteString { context.layout.data(pack.id) }
    private var mapPath: ByteString { context.layout.map(pack.id) }

    private func disk(
        _ data: consuming FileDescriptor, _ map: consuming FileDescriptor, _ seal: ContainerSeal?,
        isClean: Bool, hasFooter: Bool
    ) -> ContainerDisk {
        ContainerDisk(
            context: context, pack: pack, data: data, map: map, mapPath: mapPath, seal: seal,
            isClean: isClean, hasFooter: hasFooter)
    }

    /// Nil when there is no data file that could be this container's.
    private func openData() throws(Errno) -> FileDescriptor? {
        guard let file = try openRegular(dataPath) else { return nil }
        if try context.files.status(of: file).size == pack.containerSize { return file }
        return nil
    }

    private func makeData() throws(Errno) -> FileDescriptor {
        try remove(dataPath)
        let file: FileDescriptor
        do throws(Errno) {
            file = try create(dataPath)
        } catch .noEntry {
            do throws(Errno) {
                try context.files.makeDirectory(context.layout.containerFolder(pack.id), mode: 0o700)
            } catch .alreadyExists {}
            file = try create(dataPath)
        }
        try context.files.truncate(file, to: pack.containerSize)
        return file
    }

    private func makeMap(_ seal: ContainerSeal?) throws(Errno) -> FileDescriptor {
        try remove(mapPath)
        let file = try create(mapPath)
        let header = ContainerMap(
            pack: pack, bootID: context.bootID, isClean: false, hasFooter: false, isSealed: seal != nil)
        let pairs = PresenceBitmap.pairCount(chunks: Int(pack.chunkCount)) * 16
        if let seal {
            try context.files.write(file, seal.encodedEnvelope, at: ContainerSeal.envelopeOffset(pack))
        }
        // The words first: a map is one from its header on.
        try context.files.write(file, [UInt8](repeating: 0, count: pairs), at: ContainerMap.headerLength)
        try context.files.write(file, header.encoded(), at: 0)
        return file
    }

    private struct OpenMap: ~Copyable {
        let file: FileDescriptor
        let isClean: Bool
        let hasFooter: Bool
        let bitmap: PresenceBitmap
        let seal: ContainerSeal?
    }

    /// Nil when there is no map file that fits the pack.
    private func openMap() throws(Errno) -> OpenMap? {
        guard let file = try openRegular(mapPath) else { return nil }
        let length = ContainerMap.footerOffset(pack)
        var bytes = [UInt8](repeating: 0, count: length)
        let outcome = unsafe bytes.withUnsafeMutableBytes { buffer in
            Result { () throws(Errno) in try unsafe context.files.read(file, into: buffer, at: 0) }
        }
        // A map that cannot be read is a map that is not there.
        guard case .success(length) = outcome,
            let header = unsafe bytes.withUnsafeBytes({ unsafe ContainerMap($0) }), header.pack == pack,
            header.isSealed == (context.sealing != nil)
        else { return nil }
        let seal = context.sealing.flatMap { ContainerSeal(in: file, pack, $0, context.files) }
        if header.isSealed && seal == nil { return nil }
        let (keepsTrust, bitmap) = unsafe bytes.withUnsafeBytes { bytes in
            let keepsTrust = unsafe header.keepsTrust(bytes, context)
            return unsafe (keepsTrust, PresenceBitmap(bytes, of: header, keepsTrust: keepsTrust))
        }
        if keepsTrust {
            return OpenMap(
                file: file, isClean: header.isClean, hasFooter: header.hasFooter, bitmap: bitmap, seal: seal)
        }
        try rewrite(file, header, bitmap)
        return OpenMap(
            file: file, isClean: false, hasFooter: header.hasFooter, bitmap: bitmap, seal: seal)
    }

    /// Takes the trust out of the file too, so that it does not come back with the next life of this boot.
    private func rewrite(
        _ file: borrowing FileDescriptor, _ old: ContainerMap, _ bitmap: PresenceBitmap
    ) throws(Errno) {
        var dirty = old
        dirty.isClean = false
        if old.isClean {
            // Still under the old boot id: until the words below are written nothing may be trusted.
            dirty.bootID = BootID([])
            try context.files.write(file, dirty.encoded(), at: 0)
        }
        var pairs: [UInt8] = []
        for index in 0..<bitmap.pairCount {
            let pair = bitmap.pair(index)
            pairs.appendLittleEndian(pair.present)
            pairs.appendLittleEndian(pair.trusted)
        }
        try context.files.write(file, pairs, at: ContainerMap.headerLength)
        dirty.bootID = context.bootID
        try context.files.write(file, dirty.encoded(), at: 0)
        // A power cut must not leave the clean mark over words that are about to change.
        if old.isClean { try context.files.sync(file) }
    }

    /// Nil when there is nothing at the path, or something that is no file of ours.
    private func openRegular(_ path: ByteString) throws(Errno) -> FileDescriptor? {
        do throws(Errno) {
            // O_NONBLOCK: a fifo that somebody put here must not hold the cache up.
            let file = try context.files.open(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK, mode: 0)
            if try context.files.status(of: file).kind == .regular { return file }
            return nil
        } catch .noEntry {
            return nil
        } catch  where error == .loop || error == .isDirectory || error.rawValue == ENXIO {
            return nil
        }
    }

    private func create(_ path: ByteString) throws(Errno) -> FileDescriptor {
        try context.files.open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o600)
    }

    /// Clears the way for a file. What is no file of ours is moved aside, since somebody may want to know.
    private func remove(_ path: ByteString) throws(Errno) {
        let kind: FileStatus.Kind
        do throws(Errno) {
            kind = try context.files.status(of: path).kind
        } catch .noEntry { return }
        if kind == .regular { return try context.files.unlink(path) }
        do throws(Errno) {
            try context.files.makeDirectory(context.layout.aside, mode: 0o700)
        } catch .alreadyExists {}
        let name = ByteString(Array(path.bytes.split(separator: UInt8(ascii: "/")).last ?? []))
        let target = context.layout.aside.appending(
            ByteString(name.bytes + Array(".\(context.uniqueSuffix())".utf8)))
        try context.files.rename(path, target)
        context.notice(
            once: "aside",
            "\(path) is not a file of the cache; it was moved to \(target). Find out who put it there")
    }
}
