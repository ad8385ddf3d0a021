import CCrypto
import System

/// What one thread needs to seal or open: a cipher, room for tags, and memory for bytes that are plain for the length of a
/// reply.
@safe package final class SealBuffers {
    let cipher: SealCipher
    /// Page-aligned.
    private var memory: UnsafeMutableRawBufferPointer
    private var tagMemory: UnsafeMutableRawBufferPointer

    /// Bytes of `memory` that a reply has.
    private var filled = 0

    fileprivate init?() {
        guard let cipher = SealCipher() else { return nil }
        self.cipher = cipher
        unsafe memory = .allocate(byteCount: Self.largest, alignment: 4096)
        unsafe tagMemory = .allocate(byteCount: 32 << 10, alignment: 8)
    }

    deinit {
        // What was plain in here is not to be found in what others allocate.
        unsafe OPENSSL_cleanse(memory.baseAddress, memory.count)
        unsafe memory.deallocate()
        unsafe tagMemory.deallocate()
    }

    /// A block; or the largest read, with a sector more at both ends of each piece. Memory that nobody touched costs nothing.
    private static let largest = max(
        Block.capacity + Int(Block.pageBytes), (1 << 20) + 2 * pieceLimit * ContainerSeal.sectorBytes)
    /// Pieces of a reply.
    package static let pieceLimit = 64

    /// `count` bytes, of which the first `kept` stay as they are.
    func bytes(_ count: Int, keeping kept: Int = 0) -> UnsafeMutableRawBufferPointer {
        if unsafe memory.count < count {
            let grown = UnsafeMutableRawBufferPointer.allocate(
                byteCount: max(count, unsafe memory.count * 2), alignment: 4096)
            unsafe grown.copyMemory(from: UnsafeRawBufferPointer(rebasing: memory[..<kept]))
            unsafe OPENSSL_cleanse(memory.baseAddress, memory.count)
            unsafe memory.deallocate()
            unsafe memory = unsafe grown
        }
        return unsafe UnsafeMutableRawBufferPointer(rebasing: memory[..<count])
    }

    func tags(_ count: Int) -> UnsafeMutableRawBufferPointer {
        if unsafe tagMemory.count < count {
            unsafe tagMemory.deallocate()
            unsafe tagMemory = .allocate(byteCount: count * 2, alignment: 8)
        }
        return unsafe UnsafeMutableRawBufferPointer(rebasing: tagMemory[..<count])
    }

    /// The bytes `range` of a present chunk of a sealed container, after those of earlier calls for the same reply, valid for its
    /// length. `start` is where the chunk begins in the container, `length` its bytes. Nil when there is no room, or when the
    /// disk does not give what was sealed: the chunk is then hashed before its next use, and the fetch heals it.
    ///
    /// Only while the container is in use.
    package func open(
        _ container: Container, _ chunk: Int, from start: UInt64, length: Int, range: Range<Int>
    ) -> UnsafeRawBufferPointer? {
        let wanted = ContainerSeal.Wanted(chunk: chunk, offset: start, length: length, range: range)
        let sectors = wanted.sectors
        guard sectors.count > 0, unsafe filled + sectors.count <= memory.count, let disk = container.disk
        else { return nil }
        let target = unsafe UnsafeMutableRawBufferPointer(rebasing: memory[filled..<(filled + sectors.count)])
        guard unsafe disk.open(wanted, into: target, self) else {
            container.distrust(chunk)
            return nil
        }
        filled += sectors.count
        let first = range.lowerBound - sectors.lowerBound
        return unsafe UnsafeRawBufferPointer(rebasing: target[first..<(first + range.count)])
    }

    fileprivate func begin() { filled = 0 }

    /// Gives memory back that one large chunk needed.
    fileprivate func shrink() {
        guard unsafe memory.count > Self.largest else { return }
        unsafe OPENSSL_cleanse(memory.baseAddress, memory.count)
        unsafe memory.deallocate()
        unsafe memory = .allocate(byteCount: Self.largest, alignment: 4096)
    }
}

/// Buffers for as many threads as seal or open at once.
final class SealBufferPool: Sendable {
    private struct Idle: ~Copyable {
        // One thread at a time has a SealBuffers: the pool's lock hands it over.
        nonisolated(unsafe) var buffers: [SealBuffers] = []
    }
    private let idle = Monitor(Idle())

    /// Nil, and `body` does not run, when libcrypto has no cipher or no memory.
    @inline(__always)
    func with<Value>(_ body: (SealBuffers) -> Value) -> Value? {
        nonisolated(unsafe) var taken: SealBuffers?
        idle.withLock { unsafe taken = unsafe $0.buffers.popLast() }
        guard let buffers = unsafe taken ?? SealBuffers() else { return nil }
        nonisolated(unsafe) let held = buffers
        unsafe held.begin()
        defer {
            unsafe held.shrink()
            idle.withLock { unsafe $0.buffers.append(held) }
        }
        return unsafe body(held)
    }
}
