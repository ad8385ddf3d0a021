import CKamlSys
import Glibc

/// Anonymous memory that is shared with other processes by its descriptor (memfd), mapped here for reading and writing.
///
/// Its size is sealed, and unless others may write, so is every way of writing it but this mapping, also for root and
/// by /proc/self/fd. Nothing has a name: it goes with the last descriptor and mapping.
@safe package final class SharedMemory: @unchecked Sendable {
    // Sendable: immutable; who writes where is for its users to agree on.
    package let descriptor: FileDescriptor
    package let bytes: UnsafeMutableRawBufferPointer

    package enum Writers {
        case thisProcess
        case everybody
    }

    /// `count` zeros, more than 0. All pages are there when this returns: the first touch of a page costs twenty times
    /// what later ones do.
    package init(name: StaticString, count: Int, writers: Writers) throws(Errno) {
        guard count > 0 else { throw .invalid }
        let made = unsafe kaml_shared_memory(UnsafeRawPointer(name.utf8Start), UInt64(count))
        if made < 0 { throw .last }
        descriptor = FileDescriptor(owning: made)
        let address = unsafe mmap(
            nil, count, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, descriptor.rawValue, 0)
        guard let address = unsafe address, unsafe address != MAP_FAILED else { throw .last }
        unsafe bytes = UnsafeMutableRawBufferPointer(start: address, count: count)
        if kaml_seal_shared_memory(descriptor.rawValue, writers == .everybody ? 1 : 0) < 0 {
            let error = Errno.last
            unsafe munmap(address, count)
            throw error
        }
    }

    deinit { unsafe munmap(bytes.baseAddress, bytes.count) }
}

/// Words of memory that other processes read and write meanwhile. `offset` must be aligned and inside.
package enum SharedWords {
    @inline(__always)
    package static func load64(_ base: UnsafeRawPointer, _ offset: Int) -> UInt64 {
        unsafe kaml_load64(base + offset)
    }

    @inline(__always)
    package static func load32(_ base: UnsafeRawPointer, _ offset: Int) -> UInt32 {
        unsafe kaml_load32(base + offset)
    }

    @inline(__always)
    package static func store64(_ base: UnsafeMutableRawPointer, _ offset: Int, _ value: UInt64) {
        unsafe kaml_store64(base + offset, value)
    }

    @inline(__always)
    package static func store32(_ base: UnsafeMutableRawPointer, _ offset: Int, _ value: UInt32) {
        unsafe kaml_store32(base + offset, value)
    }

    /// Between storing an own word and loading another's: then one of two who do so sees the other's.
    @inline(__always)
    package static func fence() { kaml_full_fence() }

    /// Wakes every process that sleeps on the word.
    package static func wake(_ base: UnsafeRawPointer, _ offset: Int) {
        _ = unsafe kaml_wake_sleepers(base + offset)
    }
}

/// Copies from a mapping whose disk may fail. False then, in place of a SIGBUS.
@inline(__always)
package func copyFromMapping(
    _ source: UnsafeRawPointer, to target: UnsafeMutableRawPointer, count: Int
) -> Bool {
    unsafe kaml_copy(target, source, count) == 0
}
