import DatasetFS
import FuseMount
import Glibc
import Synchronization
import System

/// Why an inherited table of open files cannot be used.
enum OpenFileTableError: Error, Equatable {
    /// Another size, or not sealed.
    case notATable
    case otherVersion(UInt32)
    /// Record of the number contradicts itself or another one.
    case damaged(record: UInt32)
    case system(Errno)
}

/// Which files of a mount are open, and how, in memory that outlives the process.
///
/// The kernel tells a new process nothing of this, but fails an open that contradicts it. An open is recorded
/// before it is answered, so after a crash every handle that the kernel knows is here. Records are published and
/// taken back by one store of their handle: a process may be killed between any two instructions.
///
///     page 0    magic, version, records ever used
///     then      records: handle (0: free), inode, unique of the OPEN, backing id (0: cached), generation
@safe struct OpenFileTable: ~Copyable, @unchecked Sendable {
    // Sendable: the mapping moves with its one owner.
    struct Record: Equatable {
        var handle: UInt64
        var inode: Inode
        var unique: UInt64
        var mode: OpenModes.Prescribed
    }

    private enum Header {
        static let magic: UInt64 = 0x4e45_504f_4c4d_414b  // "KAMLOPEN"
        static let version: UInt32 = 1
        static let versionOffset = 8
        static let usedOffset = 12
    }
    private enum Field {
        static let inode = 8
        static let unique = 16
        static let backing = 24
        static let generation = 28
    }
    private static let generationMask: UInt32 = 0x3fff_ffff
    /// Says in a handle that `operations` decided for passthrough.
    static let decidedPassthrough: UInt64 = 1 << 62

    private let base: UnsafeMutableRawPointer
    private let capacity: UInt32
    private var used: UInt32
    private var free: [UInt32] = []

    /// Maps a table, empty or inherited. `capacity` is less than the file's in tests.
    init(
        _ file: borrowing FileDescriptor, capacity: Int = OpenFilesMemory.records
    ) throws(OpenFileTableError) {
        guard OpenFilesMemory.accepts(file) else { throw .notATable }
        let address = unsafe mmap(
            nil, OpenFilesMemory.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.rawValue, 0)
        guard let address = unsafe address, unsafe address != MAP_FAILED else { throw .system(.last) }
        let slots: (used: UInt32, free: [UInt32])
        do throws(OpenFileTableError) {
            slots = try unsafe Self.slots(address)
        } catch {
            unsafe munmap(address, OpenFilesMemory.bytes)
            throw error
        }
        unsafe base = unsafe address
        self.capacity = UInt32(clamping: min(capacity, OpenFilesMemory.records))
        (used, free) = slots
    }

    deinit { unsafe munmap(base, OpenFilesMemory.bytes) }

    /// The records that were ever used, and the free ones among them; makes the header of an empty table.
    private static func slots(
        _ base: UnsafeMutableRawPointer
    ) throws(OpenFileTableError) -> (used: UInt32, free: [UInt32]) {
        switch unsafe base.load(as: UInt64.self) {
        case 0:
            unsafe base.storeBytes(of: Header.version, toByteOffset: Header.versionOffset, as: UInt32.self)
            unsafe base.storeBytes(of: Header.magic, as: UInt64.self)
            return (0, [])
        case Header.magic: break
        default: throw .notATable
        }
        let version = unsafe base.load(fromByteOffset: Header.versionOffset, as: UInt32.self)
        guard version == Header.version else { throw .otherVersion(version) }
        let used = unsafe base.load(fromByteOffset: Header.usedOffset, as: UInt32.self)
        guard used <= UInt32(OpenFilesMemory.records) else { throw .damaged(record: used) }
        var free: [UInt32] = []
        for slot in 0..<used {
            let record = unsafe base + offset(slot)
            let handle = unsafe record.load(as: UInt64.self)
            if handle == 0 {
                free.append(slot)
                continue
            }
            let generation = unsafe record.load(fromByteOffset: Field.generation, as: UInt32.self)
            guard UInt32(truncatingIfNeeded: handle) == slot,
                UInt32(truncatingIfNeeded: handle >> 32) & generationMask == generation,
                unsafe record.load(fromByteOffset: Field.backing, as: Int32.self) >= 0
            else { throw .damaged(record: slot) }
        }
        return (used, free)
    }

    /// Records an open; returns the handle by which it will be released, nil when the table is full.
    mutating func insert(
        _ inode: Inode, _ mode: OpenModes.Prescribed, unique: UInt64, decidedPassthrough: Bool
    ) -> UInt64? {
        let slot: UInt32
        if let last = free.popLast() {
            slot = last
        } else {
            guard used < capacity else { return nil }
            slot = used
            used += 1
            // Before the record: whoever reads on after a crash looks no further than this.
            unsafe base.storeBytes(of: used, toByteOffset: Header.usedOffset, as: UInt32.self)
        }
        // Never 0, so that no handle is.
        let generation = max(1, (self.generation(slot) &+ 1) & Self.generationMask)
        let place = unsafe record(slot)
        var backing: Int32 = 0
        if case .passthrough(let id) = mode { backing = id }
        unsafe place.storeBytes(of: generation, toByteOffset: Field.generation, as: UInt32.self)
        unsafe place.storeBytes(of: inode.rawValue, toByteOffset: Field.inode, as: UInt64.self)
        unsafe place.storeBytes(of: unique, toByteOffset: Field.unique, as: UInt64.self)
        unsafe place.storeBytes(of: backing, toByteOffset: Field.backing, as: Int32.self)
        let handle =
            UInt64(slot) | UInt64(generation) << 32 | (decidedPassthrough ? Self.decidedPassthrough : 0)
        publish(handle, slot)
        return handle
    }

    /// Takes an open back. Nil when the handle names none: a release that was answered by a process that died then.
    mutating func remove(_ handle: UInt64) -> Record? {
        let slot = UInt32(truncatingIfNeeded: handle)
        guard handle != 0, slot < used, self.handle(slot) == handle else { return nil }
        let removed = read(slot, handle)
        publish(0, slot)
        free.append(slot)
        return removed
    }

    /// The open that answered, or was about to answer, the request of this number.
    func find(unique: UInt64) -> Record? {
        for slot in 0..<used {
            let handle = self.handle(slot)
            if handle != 0, unsafe record(slot).load(fromByteOffset: Field.unique, as: UInt64.self) == unique
            {
                return read(slot, handle)
            }
        }
        return nil
    }

    func forEach<Failure: Error>(_ body: (Record) throws(Failure) -> Void) throws(Failure) {
        for slot in 0..<used {
            let handle = self.handle(slot)
            if handle != 0 { try body(read(slot, handle)) }
        }
    }

    // MARK: - Records

    private func record(_ slot: UInt32) -> UnsafeMutableRawPointer {
        unsafe base + Self.offset(slot)
    }

    private static func offset(_ slot: UInt32) -> Int {
        OpenFilesMemory.headerBytes + Int(slot) * OpenFilesMemory.recordBytes
    }

    private func handle(_ slot: UInt32) -> UInt64 {
        unsafe record(slot).assumingMemoryBound(to: Atomic<UInt64>.self).pointee.load(ordering: .acquiring)
    }

    private func publish(_ handle: UInt64, _ slot: UInt32) {
        unsafe record(slot).assumingMemoryBound(to: Atomic<UInt64>.self).pointee
            .store(handle, ordering: .releasing)
    }

    private func generation(_ slot: UInt32) -> UInt32 {
        unsafe record(slot).load(fromByteOffset: Field.generation, as: UInt32.self)
    }

    private func read(_ slot: UInt32, _ handle: UInt64) -> Record {
        let place = unsafe record(slot)
        let backing = unsafe place.load(fromByteOffset: Field.backing, as: Int32.self)
        return unsafe Record(
            handle: handle,
            inode: Inode(rawValue: place.load(fromByteOffset: Field.inode, as: UInt64.self)),
            unique: place.load(fromByteOffset: Field.unique, as: UInt64.self),
            mode: backing > 0 ? .passthrough(backing: backing) : .cached)
    }
}
