import FuseMount
import Glibc
import MountHolder
import System

/// Privileges that do nothing but remember; a pipe's end stands for a connection.
final class FakePrivileges: MountPrivileges {
    var attached: [ByteString] = []
    var unmounted: [(UInt64, Bool)] = []
    var registered: [Int32: Int32] = [:]
    var ended: Set<Int32> = []
    var refusal: HolderRefusal?
    private var nextBacking: Int32 = 1

    func attach(_ options: MountOptions) throws(HolderRefusal) -> NewMount {
        if let refusal { throw refusal }
        let connection: FileDescriptor
        do throws(Errno) { connection = try FileDescriptor.open("/dev/null", O_RDWR) } catch {
            throw .mount(.systemCall(name: "open", error: error))
        }
        attached.append(options.mountPoint)
        return NewMount(
            connection: connection, mountPoint: options.mountPoint,
            device: ByteString("0:\(100 + attached.count)"))
    }

    func isConnection(_ descriptor: borrowing FileDescriptor) -> Bool { !ended.contains(descriptor.rawValue) }

    func registerBacking(_ file: borrowing FileDescriptor, _ connection: Int32) throws(Errno) -> Int32 {
        nextBacking += 1
        registered[nextBacking] = connection
        return nextBacking
    }

    func dropBacking(_ id: Int32, _ connection: Int32) { registered[id] = nil }
    func setReadAhead(_ mount: HeldMount, kibibytes: UInt32) throws(HolderRefusal) {}
    func readOnlyTree(
        of directory: borrowing FileDescriptor, at path: ByteString
    ) throws(HolderRefusal) -> FileDescriptor {
        if let refusal { throw refusal }
        do throws(Errno) { return try directory.duplicate() } catch {
            throw .mount(.systemCall(name: "dup", error: error))
        }
    }
    func unmount(_ mount: HeldMount, lazily: Bool) throws(HolderRefusal) {
        if let refusal { throw refusal }
        unmounted.append((mount.id, lazily))
    }
}

final class FakeRecording: MountRecording {
    var log: [String] = []
    func keep(_ mount: KeptMount) { log.append("keep \(mount.mount.id)") }
    func update(_ mount: KeptMount) { log.append("update \(mount.mount.id)") }
    func forget(_ mount: KeptMount) { log.append("forget \(mount.mount.id)") }
}

/// The holder's rules with nothing behind them.
final class Desk {
    let privileges = FakePrivileges()
    let recording = FakeRecording()
    private var state: HolderState

    init() {
        state = HolderState(kept: [], privileges: privileges, recording: recording, process: 4711)
    }

    func ask(_ request: HolderRequest, _ files: [Int32] = [], from connection: Int = 1) -> HolderState.Answer
    {
        ask(request.encoded(), files, from: connection)
    }

    func ask(_ bytes: [UInt8], _ files: [Int32] = [], from connection: Int = 1) -> HolderState.Answer {
        state.answer(bytes, ReceivedDescriptors(owning: files), from: connection, process: Int32(connection))
    }

    func end(_ connection: Int) { state.ended(connection) }
    func dropEnded() -> [HeldMount] { state.dropEnded() }

    func refusal(_ request: HolderRequest, _ files: [Int32] = [], from connection: Int = 1) -> HolderRefusal?
    {
        if case .refused(let refusal) = ask(request, files, from: connection).reply { refusal } else { nil }
    }

    /// Mounts; the id.
    func mount(_ path: ByteString = "/mnt/a") throws -> UInt64 {
        let answer = ask(.mount(options(path), description: [1, 2, 3]), [try memory()])
        guard case .held(let held) = answer.reply else { throw Errno.invalid }
        return held.id
    }
}

func options(_ path: ByteString) -> MountOptions {
    MountOptions(mountPoint: path, source: "kaml:x@main", allowOther: true)
}

func memory() throws -> Int32 { try OpenFilesMemory.make().release() }

/// INIT as this kernel sends it, and as it is answered.
let someHandshake: Handshake = {
    var request = [UInt8](repeating: 0, count: 104)
    request[0] = 104
    request[4] = 26
    var reply = [UInt8](repeating: 0, count: 80)
    reply[0] = 80
    return Handshake(request: request, reply: reply)
}()
