package import FuseMount
package import System

/// A mount with its descriptors, as the holder keeps it.
package final class KeptMount {
    package fileprivate(set) var mount: HeldMount
    /// Files registered for passthrough since this holder runs.
    fileprivate var backings: Set<Int32> = []
    package let device: FileDescriptor
    package let openFiles: FileDescriptor

    package init(
        _ mount: HeldMount, device: consuming FileDescriptor, openFiles: consuming FileDescriptor
    ) {
        self.mount = mount
        self.device = device
        self.openFiles = openFiles
    }
}

/// A mount that was just made.
package struct NewMount: ~Copyable {
    package let connection: FileDescriptor
    /// Where it is in the end, free of symlinks.
    package let mountPoint: ByteString
    /// `major:minor`.
    package let device: ByteString

    package init(connection: consuming FileDescriptor, mountPoint: ByteString, device: ByteString) {
        self.connection = connection
        self.mountPoint = mountPoint
        self.device = device
    }

    consuming func takeConnection() -> FileDescriptor { connection }
}

/// What takes privileges: a seam, so that the rules are tested without any.
package protocol MountPrivileges {
    func attach(_ options: MountOptions) throws(HolderRefusal) -> NewMount
    /// Whether a descriptor is a living connection with the kernel.
    func isConnection(_ descriptor: borrowing FileDescriptor) -> Bool
    func registerBacking(_ file: borrowing FileDescriptor, _ connection: Int32) throws(Errno) -> Int32
    func dropBacking(_ id: Int32, _ connection: Int32)
    func setReadAhead(_ mount: HeldMount, kibibytes: UInt32) throws(HolderRefusal)
    func unmount(_ mount: HeldMount, lazily: Bool) throws(HolderRefusal)
    /// A read-only copy of the mount below `path`, where this process finds the same directory as `directory`.
    func readOnlyTree(
        of directory: borrowing FileDescriptor, at path: ByteString
    ) throws(HolderRefusal) -> FileDescriptor
}

/// Told of what has to outlive the holder itself.
package protocol MountRecording {
    func keep(_ mount: KeptMount)
    func update(_ mount: KeptMount)
    func forget(_ mount: KeptMount)
}

/// The holder's rules: which mounts it keeps, who owns them, and what it answers.
package struct HolderState: ~Copyable {
    package typealias Connection = Int

    private let privileges: any MountPrivileges
    private let recording: any MountRecording
    private let process: Int32
    /// By ascending id.
    private var mounts: [KeptMount] = []
    private var lastID: UInt64 = 0
    private var owner: (connection: Connection, process: Int32)?

    /// `kept` are those that a holder before this one kept.
    package init(
        kept: [KeptMount], privileges: any MountPrivileges, recording: any MountRecording, process: Int32
    ) {
        mounts = kept.sorted { $0.mount.id < $1.mount.id }
        lastID = mounts.last?.mount.id ?? 0
        self.privileges = privileges
        self.recording = recording
        self.process = process
    }

    package var count: Int { mounts.count }
    package var ownerProcess: Int32? { owner?.process }
    package var ownerConnection: Connection? { owner?.connection }

    package struct Answer {
        package var reply: HolderReply
        /// Sent beside the reply; the holder's own.
        package var descriptors: [Int32] = []
        /// Whose descriptor is among them, and goes once the answer is sent.
        package var passed: PassedDescriptor?
    }

    /// A descriptor that lives as long as the object.
    package final class PassedDescriptor {
        let file: FileDescriptor
        init(_ file: consuming FileDescriptor) { self.file = file }
    }

    /// Answers one message.
    package mutating func answer(
        _ bytes: [UInt8], _ descriptors: consuming ReceivedDescriptors, from connection: Connection,
        process: Int32
    ) -> Answer {
        do throws(HolderRefusal) {
            let request = try HolderRequest.decoded(bytes)
            guard descriptors.count == request.descriptors else {
                throw .badRequest("\(descriptors.count) descriptors came, not \(request.descriptors)")
            }
            if case .hello(let version) = request {
                return Answer(reply: try welcome(version, connection, process))
            }
            guard let owner, owner.connection == connection else {
                throw owner.map { .owned(process: $0.process) } ?? .badRequest("no hello came first")
            }
            return try perform(request, descriptors)
        } catch {
            return Answer(reply: .refused(error))
        }
    }

    /// A connection has ended; its agent's mounts stay.
    package mutating func ended(_ connection: Connection) {
        if owner?.connection == connection { owner = nil }
    }

    /// Lets go of mounts whose connection the kernel has ended; returns them.
    package mutating func dropEnded() -> [HeldMount] {
        let ended = mounts.filter { !privileges.isConnection($0.device) }
        for mount in ended { recording.forget(mount) }
        mounts.removeAll { mount in ended.contains { $0 === mount } }
        return ended.map(\.mount)
    }

    // MARK: - Operations

    private mutating func welcome(
        _ version: UInt32, _ connection: Connection, _ process: Int32
    ) throws(HolderRefusal) -> HolderReply {
        guard version == HolderLimits.protocolVersion else { throw .protocolVersion(version) }
        if let owner, owner.connection != connection { throw .owned(process: owner.process) }
        owner = (connection, process)
        return .welcome(version: HolderLimits.protocolVersion, process: self.process)
    }

    private mutating func perform(
        _ request: HolderRequest, _ descriptors: consuming ReceivedDescriptors
    ) throws(HolderRefusal) -> Answer {
        switch request {
        case .hello: throw .badRequest("a second hello")
        case .mount(let options, let description):
            return try attach(options, description, openFiles: descriptors.take())
        case .next(let after):
            guard let next = mounts.first(where: { $0.mount.id > after }) else { return Answer(reply: .done) }
            return Answer(
                reply: .held(next.mount), descriptors: [next.device.rawValue, next.openFiles.rawValue])
        case .noteHandshake(let id, let handshake):
            let mount = try mount(id)
            mount.mount.handshake = handshake
            recording.update(mount)
        case .describe(let id, let description):
            let mount = try mount(id)
            mount.mount.description = description
            recording.update(mount)
        case .registerBacking(let id):
            guard let file = descriptors.take() else { throw .badRequest("no file came") }
            return Answer(reply: .backing(try register(file, for: try mount(id))))
        case .dropBacking(let id, let backing): try drop([backing], of: try mount(id))
        case .keepBackings(let id, let kept):
            let mount = try mount(id)
            try drop(mount.backings.subtracting(kept), of: mount)
            mount.backings.formUnion(kept)
        case .readAhead(let id, let kibibytes):
            try privileges.setReadAhead(try mount(id).mount, kibibytes: kibibytes)
        case .unmount(let id, let lazily): try privileges.unmount(try mount(id).mount, lazily: lazily)
        case .forget(let id):
            let mount = try mount(id)
            recording.forget(mount)
            mounts.removeAll { $0 === mount }
        case .adopt(let given):
            return try adopt(given, connection: descriptors.take(), openFiles: descriptors.take())
        case .readOnlyTree(let path):
            guard let directory = descriptors.take() else { throw .badRequest("no directory came") }
            let passed = PassedDescriptor(try privileges.readOnlyTree(of: directory, at: path))
            return Answer(reply: .done, descriptors: [passed.file.rawValue], passed: passed)
        }
        return Answer(reply: .done)
    }

    private func mount(_ id: UInt64) throws(HolderRefusal) -> KeptMount {
        var low = 0
        var high = mounts.count
        while low < high {
            let middle = (low + high) / 2
            if mounts[middle].mount.id < id { low = middle + 1 } else { high = middle }
        }
        guard low < mounts.count, mounts[low].mount.id == id else { throw .unknownMount }
        return mounts[low]
    }

    private mutating func attach(
        _ options: MountOptions, _ description: [UInt8], openFiles: consuming FileDescriptor?
    ) throws(HolderRefusal) -> Answer {
        guard let openFiles, OpenFilesMemory.accepts(openFiles) else {
            throw .badRequest("no table of open files came")
        }
        guard mounts.count < HolderLimits.mounts else { throw .limit("mounts") }
        let new = try privileges.attach(options)
        let mount = HeldMount(
            id: lastID + 1, mountPoint: new.mountPoint, source: options.source, device: new.device,
            description: description)
        let kept = keep(mount, new.takeConnection(), openFiles)
        return Answer(reply: .held(mount), descriptors: [kept.device.rawValue])
    }

    private mutating func adopt(
        _ given: HeldMount, connection: consuming FileDescriptor?, openFiles: consuming FileDescriptor?
    ) throws(HolderRefusal) -> Answer {
        guard let openFiles, OpenFilesMemory.accepts(openFiles) else {
            throw .badRequest("no table of open files came")
        }
        guard let connection, privileges.isConnection(connection) else {
            throw .badRequest("no living connection with the kernel came")
        }
        guard mounts.count < HolderLimits.mounts else { throw .limit("mounts") }
        guard !mounts.contains(where: { $0.mount.device == given.device }) else {
            throw .badRequest("the mount is held already")
        }
        var mount = given
        mount.id = lastID + 1
        _ = keep(mount, connection, openFiles)
        return Answer(reply: .held(mount))
    }

    private mutating func keep(
        _ mount: HeldMount, _ connection: consuming FileDescriptor, _ openFiles: consuming FileDescriptor
    ) -> KeptMount {
        let kept = KeptMount(mount, device: connection, openFiles: openFiles)
        lastID = mount.id
        mounts.append(kept)
        recording.keep(kept)
        return kept
    }

    private func register(
        _ file: borrowing FileDescriptor, for mount: KeptMount
    ) throws(HolderRefusal) -> Int32 {
        guard mount.backings.count < HolderLimits.backings else { throw .limit("registered files") }
        do throws(Errno) {
            let id = try privileges.registerBacking(file, mount.device.rawValue)
            mount.backings.insert(id)
            return id
        } catch {
            throw .mount(.systemCall(name: "registering a file for passthrough", error: error))
        }
    }

    private func drop(_ ids: Set<Int32>, of mount: KeptMount) throws(HolderRefusal) {
        for id in ids {
            guard id > 0 else { throw .badRequest("no backing id") }
            privileges.dropBacking(id, mount.device.rawValue)
            mount.backings.remove(id)
        }
    }
}
