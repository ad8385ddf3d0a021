package import FuseMount
package import System

/// What the holder keeps of a mount, beside the descriptors.
package struct HeldMount: Sendable, Equatable {
    package var id: UInt64
    package var mountPoint: ByteString
    package var source: ByteString
    /// `major:minor`, by which the mount is told from others at its path.
    package var device: ByteString
    /// The agent's own words; opaque here.
    package var description: [UInt8]
    package var handshake: Handshake?

    package init(
        id: UInt64, mountPoint: ByteString, source: ByteString, device: ByteString, description: [UInt8],
        handshake: Handshake? = nil
    ) {
        self.id = id
        self.mountPoint = mountPoint
        self.source = source
        self.device = device
        self.description = description
        self.handshake = handshake
    }
}

/// Bounds of what is exchanged and kept.
package enum HolderLimits {
    package static let protocolVersion: UInt32 = 1
    package static let messageBytes = 64 << 10
    package static let descriptionBytes = 48 << 10
    /// PATH_MAX.
    package static let pathBytes = 4095
    package static let sourceBytes = 1024
    package static let mounts = 16_384
    /// Of one mount.
    package static let backings = 1 << 20
    /// Beside the agent's: somebody who waits for its end, or a person's tool.
    package static let connections = 16
}
