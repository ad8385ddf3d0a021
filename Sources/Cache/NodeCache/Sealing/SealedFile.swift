import System

/// A small file that is sealed whole: an envelope, and its body behind it.
struct SealedFile {
    let keys: CacheKeys
    let pool: SealBufferPool

    /// `purpose` says which file it is, so that none can be put in another's place.
    func seal(_ plain: [UInt8], for purpose: String) throws(Errno) -> [UInt8] {
        let purpose = Array("kaml file 1 \(purpose)".utf8)
        guard var envelope = try? SealEnvelope.new(for: purpose, keys, pool),
            let sealed = unsafe plain.withUnsafeBytes({
                unsafe pool.seal($0, with: envelope.key, for: purpose)
            })
        else { throw .inputOutput }
        envelope.bodyMark = sealed.mark
        return envelope.encoded + sealed.bytes
    }

    /// Nil when that is no such file, or not one of these keys.
    func open(_ bytes: [UInt8], for purpose: String) -> [UInt8]? {
        let purpose = Array("kaml file 1 \(purpose)".utf8)
        guard let envelope = SealEnvelope(bytes, for: purpose, keys, pool) else { return nil }
        return pool.open(
            Array(bytes[SealEnvelope.byteCount...]), envelope.bodyMark, with: envelope.key, for: purpose)
    }
}

extension SealedFile {
    /// The same in memory of its own, for a file that is large. `length` is the file's.
    func region(
        _ file: borrowing FileDescriptor, length: Int, for purpose: String, _ files: any FileSystem
    ) -> MappedRegion? {
        let purpose = Array("kaml file 1 \(purpose)".utf8)
        guard length > SealEnvelope.byteCount,
            let head = try? files.bytes(of: file, at: 0, count: SealEnvelope.byteCount),
            let envelope = SealEnvelope(head, for: purpose, keys, pool)
        else { return nil }
        var isOpen = false
        let region = try? unsafe MappedRegion(anonymous: length - SealEnvelope.byteCount) {
            memory throws(Errno) in
            guard
                try unsafe files.read(file, into: memory, at: UInt64(SealEnvelope.byteCount)) == memory.count
            else { return }
            isOpen = unsafe pool.open(inPlace: memory, envelope.bodyMark, with: envelope.key, for: purpose)
        }
        return isOpen ? region : nil
    }
}

extension CacheContext {
    /// Reads a small file of the cache, at most `limit` bytes of it. Empty where it is sealed and cannot be opened.
    func readWhole(_ path: ByteString, limit: Int, for purpose: String) throws(Errno) -> [UInt8] {
        guard let sealing else { return try readFile(path, limit: limit, files) }
        let bytes = try readFile(path, limit: limit + SealEnvelope.byteCount, files)
        return sealing.file.open(bytes, for: purpose) ?? []
    }

    func replaceWhole(
        _ path: ByteString, _ bytes: [UInt8], suffix: String, for purpose: String
    ) throws(Errno) {
        let stored = try sealing?.file.seal(bytes, for: purpose) ?? bytes
        try replaceFile(path, stored, suffix: suffix, files)
    }
}
