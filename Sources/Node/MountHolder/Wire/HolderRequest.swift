import FoundationEssentials
package import FuseMount
import KamlProtos
import SwiftProtobuf
package import System

/// What an agent asks of the holder.
package enum HolderRequest: Sendable {
    case hello(version: UInt32)
    /// Brings the table of open files.
    case mount(MountOptions, description: [UInt8])
    case next(after: UInt64)
    case noteHandshake(id: UInt64, Handshake)
    case describe(id: UInt64, [UInt8])
    /// Brings the file.
    case registerBacking(id: UInt64)
    case dropBacking(id: UInt64, Int32)
    case keepBackings(id: UInt64, Set<Int32>)
    case readAhead(id: UInt64, kibibytes: UInt32)
    case unmount(id: UInt64, lazily: Bool)
    case forget(id: UInt64)
    /// Brings the connection and the table of open files.
    case adopt(HeldMount)
    /// Brings the directory that is found at the path.
    case readOnlyTree(ByteString)

    /// How many descriptors come with it.
    package var descriptors: Int {
        switch self {
        case .mount, .registerBacking, .readOnlyTree: 1
        case .adopt: 2
        default: 0
        }
    }
}

extension HolderRequest {
    package func encoded() -> [UInt8] {
        var message = Kaml_Holder_V1_Request()
        switch self {
        case .hello(let version): message.hello.protocolVersion = version
        case .mount(let options, let description):
            message.mount.mountPoint = Data(options.mountPoint.bytes)
            message.mount.source = Data(options.source.bytes)
            message.mount.allowOther = options.allowOther
            message.mount.allowNonEmpty = options.allowNonEmpty
            message.mount.description_p = Data(description)
        case .next(let after):
            message.next = .init()
            message.next.after = after
        case .noteHandshake(let id, let handshake):
            message.noteHandshake.id = id
            message.noteHandshake.request = Data(handshake.request)
            message.noteHandshake.reply = Data(handshake.reply)
        case .describe(let id, let description):
            message.describe.id = id
            message.describe.description_p = Data(description)
        case .registerBacking(let id): message.registerBacking.id = id
        case .dropBacking(let id, let backing):
            message.dropBacking.id = id
            message.dropBacking.backing = backing
        case .keepBackings(let id, let backings):
            message.keepBackings.id = id
            message.keepBackings.backings = backings.sorted()
        case .readAhead(let id, let kibibytes):
            message.readAhead.id = id
            message.readAhead.kib = kibibytes
        case .unmount(let id, let lazily):
            message.unmount.id = id
            message.unmount.lazily = lazily
        case .forget(let id): message.forget.id = id
        case .adopt(let mount): message.adopt.mount = mount.message
        case .readOnlyTree(let path): message.readOnlyTree.path = Data(path.bytes)
        }
        // Fails only where required fields of proto2 are missing, or beyond 2 GiB.
        return (try? message.serializedBytes()) ?? []
    }

    /// Reads a request from outside; every bound is checked here.
    ///
    /// - Throws: `HolderRefusal.badRequest`.
    package static func decoded(_ bytes: [UInt8]) throws(HolderRefusal) -> HolderRequest {
        guard bytes.count <= HolderLimits.messageBytes else { throw .badRequest("too large") }
        guard let message = try? Kaml_Holder_V1_Request(serializedBytes: bytes) else {
            throw .badRequest("not a request")
        }
        switch message.operation {
        case nil: throw .badRequest("unknown operation")
        case .hello(let body): return .hello(version: body.protocolVersion)
        case .mount(let body):
            var options = MountOptions(
                mountPoint: try path(body.mountPoint), source: try text(body.source, "source"),
                allowOther: body.allowOther)
            options.allowNonEmpty = body.allowNonEmpty
            return .mount(options, description: try description(body.description_p))
        case .next(let body): return .next(after: body.after)
        case .noteHandshake(let body):
            return .noteHandshake(id: body.id, try HeldMount.handshake(body.request, body.reply))
        case .describe(let body): return .describe(id: body.id, try description(body.description_p))
        case .registerBacking(let body): return .registerBacking(id: body.id)
        case .dropBacking(let body): return .dropBacking(id: body.id, body.backing)
        case .keepBackings(let body): return .keepBackings(id: body.id, Set(body.backings))
        case .readAhead(let body):
            guard body.kib <= 1 << 20 else { throw .badRequest("read-ahead above 1 GiB") }
            return .readAhead(id: body.id, kibibytes: body.kib)
        case .unmount(let body): return .unmount(id: body.id, lazily: body.lazily)
        case .forget(let body): return .forget(id: body.id)
        case .adopt(let body): return .adopt(try HeldMount(body.mount))
        case .readOnlyTree(let body): return .readOnlyTree(try path(body.path))
        }
    }

    static func path(_ data: Data) throws(HolderRefusal) -> ByteString {
        guard data.first == UInt8(ascii: "/"), data.count <= HolderLimits.pathBytes, !data.contains(0) else {
            throw .badRequest("the mount point is no absolute path")
        }
        return ByteString(Array(data))
    }

    static func text(_ data: Data, _ what: String) throws(HolderRefusal) -> ByteString {
        guard data.count <= HolderLimits.sourceBytes, !data.contains(0) else { throw .badRequest(what) }
        return ByteString(Array(data))
    }

    static func description(_ data: Data) throws(HolderRefusal) -> [UInt8] {
        guard data.count <= HolderLimits.descriptionBytes else { throw .badRequest("description too large") }
        return Array(data)
    }
}

extension HeldMount {
    var message: Kaml_Holder_V1_Held {
        var message = Kaml_Holder_V1_Held()
        message.id = id
        message.mountPoint = Data(mountPoint.bytes)
        message.source = Data(source.bytes)
        message.device = Data(device.bytes)
        message.description_p = Data(description)
        message.handshakeRequest = Data(handshake?.request ?? [])
        message.handshakeReply = Data(handshake?.reply ?? [])
        return message
    }

    init(_ message: Kaml_Holder_V1_Held) throws(HolderRefusal) {
        self.init(
            id: message.id, mountPoint: try HolderRequest.path(message.mountPoint),
            source: try HolderRequest.text(message.source, "source"),
            device: try HolderRequest.text(message.device, "device"),
            description: try HolderRequest.description(message.description_p),
            handshake: message.handshakeRequest.isEmpty && message.handshakeReply.isEmpty
                ? nil : try Self.handshake(message.handshakeRequest, message.handshakeReply))
    }

    static func handshake(_ request: Data, _ reply: Data) throws(HolderRefusal) -> Handshake {
        let handshake = Handshake(request: Array(request), reply: Array(reply))
        guard handshake.isComplete else { throw .badRequest("INIT is not what FUSE sends") }
        return handshake
    }

    /// As it is kept where the holder's own restart does not lose it.
    package func serialized() -> [UInt8] { (try? message.serializedBytes()) ?? [] }

    /// - Throws: `HolderRefusal.badRequest`.
    package init(serialized bytes: [UInt8]) throws(HolderRefusal) {
        guard let message = try? Kaml_Holder_V1_Held(serializedBytes: bytes) else {
            throw .badRequest("not a mount")
        }
        try self.init(message)
    }
}
