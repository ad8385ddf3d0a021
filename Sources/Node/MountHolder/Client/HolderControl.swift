import FuseMount
import System

/// Does for a mount what takes privileges by asking the holder.
final class HolderControl: MountControl {
    private let client: HolderClient
    private let state: Monitor<HeldMount>
    // Duplicates, for a holder that was restarted; they close with the session.
    private let device: FileDescriptor
    private let openFiles: FileDescriptor
    let mountPoint: ByteString

    init(
        _ client: HolderClient, _ held: HeldMount, device: consuming FileDescriptor,
        openFiles: consuming FileDescriptor
    ) {
        self.client = client
        mountPoint = held.mountPoint
        state = Monitor(held)
        self.device = device
        self.openFiles = openFiles
    }

    var held: HeldMount { state.withLock { $0 } }
    var descriptors: [Int32] { [device.rawValue, openFiles.rawValue] }
    func renumber(_ id: UInt64) { state.withLock { $0.id = id } }

    private var id: UInt64 { state.withLock { $0.id } }

    @discardableResult
    private func ask(
        descriptors: [Int32] = [], _ request: () -> HolderRequest
    ) throws(HolderError) -> HolderReply {
        try client.ask(descriptors: descriptors, repeatable: true, request).reply
    }

    /// On a thread that serves requests: the holder may be slow, and other threads are to take over meanwhile.
    private func askServing(
        descriptors: [Int32] = [], _ request: () -> HolderRequest
    ) throws(HolderError) -> HolderReply {
        try SlowWait.during { () throws(HolderError) in try ask(descriptors: descriptors, request) }
    }

    private func asking(_ request: () -> HolderRequest) throws(MountError) {
        do throws(HolderError) { try ask(request) } catch { throw HolderClient.mountError(mountPoint, error) }
    }

    func note(_ handshake: Handshake) throws(MountError) {
        state.withLock { $0.handshake = handshake }
        try asking { .noteHandshake(id: id, handshake) }
    }

    func registerBacking(_ descriptor: Int32, device: Int32) throws(Errno) -> Int32 {
        do throws(HolderError) {
            let reply = try askServing(descriptors: [descriptor]) { .registerBacking(id: id) }
            guard case .backing(let backing) = reply else { throw HolderError.malformedAnswer }
            return backing
        } catch {
            if case .refused(.mount(.systemCall(_, let errno))) = error { throw errno }
            throw Errno.timedOut
        }
    }

    func dropBacking(_ id: Int32, device: Int32) {
        // What is not dropped now goes with the mount, or when an agent takes it over.
        _ = try? askServing { .dropBacking(id: self.id, id) }
    }

    func keepBackings(_ ids: Set<Int32>, device: Int32) {
        // Beyond this a message would be too large; what is not dropped goes with the mount.
        guard ids.count <= 10_000 else { return }
        _ = try? ask { .keepBackings(id: id, ids) }
    }

    func raiseReadAhead(toKiB kibibytes: Int) throws(MountError) {
        try asking { .readAhead(id: id, kibibytes: UInt32(clamping: kibibytes)) }
    }

    func detach(lazily: Bool) throws(MountError) { try asking { .unmount(id: id, lazily: lazily) } }

    func ended() {
        // A holder that cannot be asked now finds out by itself.
        _ = try? ask { .forget(id: id) }
    }
}
