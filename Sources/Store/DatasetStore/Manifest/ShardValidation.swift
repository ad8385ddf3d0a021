package import Chunking
import ObjectStore
import Glibc

@inline(__always)
func memoryCompare(_ a: UnsafeRawPointer, _ b: UnsafeRawPointer, _ count: Int) -> Int {
    unsafe Int(memcmp(a, b, count))
}

extension ShardView {
    /// Opens a shard's image: checks every length, index, name and the order once, so that readers need not.
    ///
    /// `bytes` must stay alive and unchanged; its hash has been checked by the caller.
    package init(_ bytes: UnsafeRawBufferPointer, id: ContentHash) throws(StoreError) {
        func damaged(_ what: String) -> StoreError {
            StoreError(
                .damaged, "the manifest shard \(what)", object: ManifestFormat.key(of: id).text,
                remedy: "Run `kaml check` to see which snapshots it hurts")
        }
        guard bytes.count >= ManifestFormat.shardHeaderLength, let start = bytes.baseAddress,
            unsafe bytes.startsWith(ManifestFormat.shardMagic)
        else { throw damaged("is not a shard") }
        guard unsafe start.u16(8) == ManifestFormat.version else {
            throw StoreError(
                .unsupported, unsafe "the manifest shard has format version \(start.u16(8))",
                object: ManifestFormat.key(of: id).text, remedy: "Update kaml")
        }
        guard unsafe start.u16(10) == 0, unsafe bytes.areZero(32..<64) else {
            throw damaged("has bits in a zero field")
        }
        let counts = unsafe (Int(start.u32(12)), Int(start.u32(16)), Int(start.u32(20)), Int(start.u32(24)))
        let blobLength = unsafe Int(start.u32(28))
        guard counts.0 > 0, counts.0 <= ManifestFormat.shardMaximum, counts.1 > 0, counts.1 <= counts.0 else {
            throw damaged("has a count out of range")
        }
        var offset = ManifestFormat.shardHeaderLength + counts.0 * ManifestFormat.recordLength
        let directories = offset
        offset += counts.1 * ManifestFormat.directoryLength
        let packs = offset
        offset += counts.2 * PackReference.byteCount
        let extents = offset
        offset += counts.3 * ManifestFormat.extentLength
        // Counts are u32, so no sum of products above can overflow Int.
        guard offset + blobLength == bytes.count else { throw damaged("has a wrong length") }
        unsafe base = unsafe start
        count = counts.0
        directoryCount = counts.1
        packCount = counts.2
        extentCount = counts.3
        unsafe self.directories = unsafe start + directories
        unsafe self.packs = unsafe start + packs
        unsafe self.extents = unsafe start + extents
        unsafe blob = unsafe start + offset
        self.blobLength = blobLength
        if let problem = firstProblem() {
            guard !problem.needsNewerProgram else {
                throw StoreError(
                    .unsupported, "the manifest shard \(problem.text)",
                    object: ManifestFormat.key(of: id).text, remedy: "Update kaml")
            }
            throw damaged(problem.text)
        }
    }

    private func inBlob(_ offset: UInt32, _ length: Int) -> Bool {
        Int(offset) <= blobLength && length <= blobLength - Int(offset)
    }

    private func firstProblem() -> FormatProblem? {
        for index in 0..<packCount {
            guard unsafe PackReference(loading: packs + index * PackReference.byteCount) != nil else {
                return "names a pack with lengths out of range"
            }
        }
        return directoryProblem() ?? recordProblem()
    }

    private func directoryProblem() -> FormatProblem? {
        var next = 0
        for index in 0..<directoryCount {
            let entry = unsafe directories + index * ManifestFormat.directoryLength
            guard unsafe inBlob(entry.u32(0), Int(entry.u32(4))),
                unsafe Int(entry.u32(4)) <= ManifestFormat.maximumPathLength
            else { return "has a directory path out of range" }
            let records = directoryRecords(index)
            guard records.lowerBound == next, !records.isEmpty, records.upperBound <= count else {
                return "has a directory whose entries are not in a row"
            }
            next = records.upperBound
            if index > 0, unsafe KeyOrder.compare(directoryPath(index - 1), directoryPath(index)) >= 0 {
                return "has directories out of order"
            }
        }
        return next == count ? nil : "has entries without a directory"
    }

    private func recordProblem() -> FormatProblem? {
        for directory in 0..<directoryCount {
            let records = directoryRecords(directory)
            let isRoot = unsafe directoryPath(directory).isEmpty
            for index in records {
                let record = record(index)
                guard unsafe inBlob(record.base.u32(64), Int(record.base.u8(68))),
                    record.directory == directory
                else {
                    return "has a name out of range"
                }
                guard unsafe Self.isValidName(record.name, mayBeEmpty: isRoot && index == 0) else {
                    return "has a name that no file can have"
                }
                if index > records.lowerBound,
                    unsafe KeyOrder.compare(self.record(index - 1).name, record.name) >= 0
                {
                    return "has names out of order or twice"
                }
                if let problem = contentsProblem(record) { return problem }
            }
        }
        return nil
    }

    private static func isValidName(_ name: UnsafeRawBufferPointer, mayBeEmpty: Bool) -> Bool {
        guard let start = name.baseAddress, unsafe !name.isEmpty else { return mayBeEmpty }
        if unsafe start.u8(0) == UInt8(ascii: ".") {
            if name.count == 1 { return false }
            if name.count == 2, unsafe start.u8(1) == UInt8(ascii: ".") { return false }
        }
        return unsafe memchr(start, 0, name.count) == nil && memchr(start, 0x2F, name.count) == nil
    }

    private func contentsProblem(_ record: RecordView) -> FormatProblem? {
        guard let kind = unsafe EntryKind(rawValue: record.base.u8(69)) else {
            return "has an unknown kind of entry"
        }
        let type = record.mode & UInt32(S_IFMT)
        guard record.mode <= 0o177777, unsafe record.base.u32(48) < 1_000_000_000,
            record.size <= UInt64(Int64.max),
            record.linkCount > 0, unsafe record.base.u8(71) == 0
        else { return "has attributes out of range" }
        if record.hasAttributes, !attributesAreValid(at: record.attributesOffset) {
            return "has extended attributes out of range"
        }
        switch kind {
        case .directory:
            guard type == UInt32(S_IFDIR) else { return "has a directory with another type" }
        case .empty:
            guard type == UInt32(S_IFREG), record.size == 0 else { return "has an empty file with a size" }
        case .chunk:
            guard type == UInt32(S_IFREG), record.pack < packCount else { return "has a file with no pack" }
            return chunkProblem(record, in: pack(record.pack))
        case .extents:
            guard type == UInt32(S_IFREG) else { return "has extents of something that is no file" }
            return extentsProblem(record)
        case .symlink, .hardLink:
            guard unsafe inBlob(record.base.u32(76), Int(record.base.u32(80))),
                unsafe record.target.count > 0,
                unsafe record.target.count <= ManifestFormat.maximumPathLength
            else { return "has a link target out of range" }
            guard (kind == .symlink) == (type == UInt32(S_IFLNK)), type != UInt32(S_IFDIR) else {
                return "has a link with another type"
            }
        }
        return nil
    }

    private func chunkProblem(_ record: RecordView, in pack: PackReference) -> FormatProblem? {
        guard let codec = unsafe Codec(rawValue: record.base.u8(70)) else { return .unknownCodec }
        guard (codec == .reference) == pack.holdsReferences else {
            return "has a file that is stored otherwise than its pack's"
        }
        let entry = record.chunkEntry
        let isInPack =
            codec == .reference
            ? UInt64(record.storedLength) == record.size
            : record.frameOffset >= UInt32(PackFormat.headerLength)
                && entry.frame.upperBound <= pack.objectSize - UInt64(pack.footerLength)
        guard record.size > 0, record.size <= UInt64(PackFormat.limits.plainLength),
            UInt64(record.storedLength) <= record.size, record.chunk < pack.chunkCount,
            record.containerOffset + record.size <= pack.containerSize, pack.layout == .slots, isInPack
        else { return "has a file that lies outside its pack" }
        return nil
    }

    private func extentsProblem(_ record: RecordView) -> FormatProblem? {
        let first = unsafe Int(record.base.u32(76))
        let number = unsafe Int(record.base.u32(80))
        guard number > 0, first <= extentCount, number <= extentCount - first,
            extent(first).pack.map({ $0 < packCount }) ?? true
        else { return "has extents out of range" }
        var next: UInt64 = 0
        let isReference = isReference(record)
        for index in first..<(first + number) {
            let extent = extent(index)
            guard unsafe extent.base.u32(28) == 0 else { return "has bits in a zero field of an extent" }
            guard extent.fileOffset == next, extent.length > 0, extent.length <= record.size - next else {
                return "has extents that overlap, leave a gap or exceed the file"
            }
            next += extent.length
            guard let packIndex = extent.pack else {
                if isReference { return "has a hole in a foreign object" }
                guard extent.firstChunk == 0, extent.chunkCount == 0, extent.containerOffset == 0 else {
                    return "has a hole with chunks"
                }
                continue
            }
            guard packIndex < packCount else { return "has an extent with no pack" }
            let pack = pack(packIndex)
            guard pack.holdsReferences == isReference else { return "has a file that is partly references" }
            guard extent.firstChunk < pack.chunkCount, extent.chunkCount > 0,
                extent.chunkCount <= pack.chunkCount - extent.firstChunk,
                extent.containerOffset <= pack.containerSize,
                extent.length <= pack.containerSize - extent.containerOffset
            else { return "has an extent that lies outside its pack" }
        }
        return next == record.size ? nil : "has extents shorter than the file"
    }

    private func attributesAreValid(at offset: Int) -> Bool {
        guard offset + 2 <= blobLength else { return false }
        var position = offset + 2
        for _ in unsafe 0..<Int((blob + offset).u16(0)) {
            guard position + 5 <= blobLength else { return false }
            let length = unsafe Int((blob + position).u8(0)) + Int((blob + position).u32(1))
            guard length <= blobLength - position - 5, unsafe (blob + position).u8(0) > 0 else {
                return false
            }
            position += 5 + length
        }
        return true
    }
}
