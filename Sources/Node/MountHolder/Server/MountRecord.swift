import CKamlSys
import System

/// Bytes in anonymous memory that can be replaced at any moment of a process's end: written beside the old ones,
/// then made current by one store of eight bytes.
///
///     0         which half is current, and its length
///     4096      first half
///     +64 KiB   second half
final class MountRecord {
    let file: FileDescriptor
    private static let headerBytes: UInt64 = 4096
    private static let halfBytes = HolderLimits.messageBytes

    init() throws(Errno) {
        let descriptor = unsafe kaml_sealed_memory(
            "kaml-mount", Self.headerBytes + 2 * UInt64(Self.halfBytes))
        if descriptor < 0 { throw .last }
        file = FileDescriptor(owning: descriptor)
    }

    /// One that an earlier process wrote.
    init(_ file: consuming FileDescriptor) { self.file = file }

    func write(_ bytes: [UInt8]) throws(Errno) {
        guard bytes.count <= Self.halfBytes else { throw .fileTooLarge }
        let half: UInt64 = current().map { 1 - $0.half } ?? 0
        try put(bytes, at: Self.headerBytes + half * UInt64(Self.halfBytes))
        let word = (half << 32 | UInt64(bytes.count)).littleEndian
        try put((0..<8).map { UInt8(truncatingIfNeeded: word >> ($0 * 8)) }, at: 0)
    }

    /// Nil when nothing sound is in it.
    func read() -> [UInt8]? {
        guard let (half, length) = current(), length > 0 else { return nil }
        return get(length, at: Self.headerBytes + half * UInt64(Self.halfBytes))
    }

    private func current() -> (half: UInt64, length: Int)? {
        guard let word = get(8, at: 0)?.reversed().reduce(UInt64(0), { $0 << 8 | UInt64($1) }) else {
            return nil
        }
        let length = Int(word & 0xffff_ffff)
        guard word >> 32 <= 1, length <= Self.halfBytes else { return nil }
        return (word >> 32, length)
    }

    private func put(_ bytes: [UInt8], at offset: UInt64) throws(Errno) {
        let outcome = unsafe bytes.withUnsafeBytes { buffer in
            Result { () throws(Errno) in try unsafe file.write(buffer, at: offset) }
        }
        try outcome.get()
    }

    private func get(_ count: Int, at offset: UInt64) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count)
        let read = unsafe bytes.withUnsafeMutableBytes { buffer in
            (try? unsafe file.read(into: buffer, at: offset)) ?? 0
        }
        return read == count ? bytes : nil
    }
}
