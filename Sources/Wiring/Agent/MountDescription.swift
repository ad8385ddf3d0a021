package import Chunking
import FoundationEssentials
package import FuseSession
import KamlProtos
import SwiftProtobuf
package import System

/// All that a new agent needs to go on serving a mount: kept with the mount's connection by whoever holds it.
/// No secrets.
package struct MountDescription: Sendable, Hashable {
    /// `dataset@ref`, as people call it: shown by mount(8), in messages and in `user.kaml.dataset`.
    package var name: String
    package var snapshot: ContentHash
    /// The store's URL, and its settings by their configuration key (never a secret).
    package var store: String
    package var storeSettings: [String: String] = [:]
    package var mountPoint: ByteString
    /// What the kernel was told; nil until the snapshot's statistics have decided.
    package var profile: MountProfile?
    package var readAheadKiB: Int = 4096
    package var allowOther: Bool
    package var allowNonEmpty = false
    /// What whoever asked for the mount wants to find again.
    package var labels: [String: String] = [:]

    package init(
        name: String, snapshot: ContentHash, store: String, mountPoint: ByteString, allowOther: Bool
    ) {
        self.name = name
        self.snapshot = snapshot
        self.store = store
        self.mountPoint = mountPoint
        self.allowOther = allowOther
    }

    /// Why kept bytes are no description that this build understands.
    package enum Unreadable: Error, Sendable, Hashable, CustomStringConvertible {
        case malformed
        case otherVersion(UInt32)

        package var description: String {
            switch self {
            case .malformed: "the kept description of the mount is damaged; unmount it lazily"
            case .otherVersion(let version):
                "the kept description of the mount has version \(version), made by a newer agent; run that one, or unmount it lazily"
            }
        }
    }

    private static let formatVersion: UInt32 = 1

    /// - Throws: `Unreadable`.
    package init(serialized bytes: [UInt8]) throws(Unreadable) {
        guard let message = try? Kaml_Holder_V1_MountDescription(serializedBytes: bytes) else {
            throw .malformed
        }
        guard message.formatVersion == Self.formatVersion else { throw .otherVersion(message.formatVersion) }
        guard let snapshot = ContentHash(Array(message.snapshot)), !message.mountPoint.isEmpty else {
            throw .malformed
        }
        name = message.name
        self.snapshot = snapshot
        store = message.store
        storeSettings = message.storeSettings
        mountPoint = ByteString(Array(message.mountPoint))
        switch message.profile {
        case .passthrough: profile = .passthrough
        case .zeroMessageOpen: profile = .zeroMessageOpen
        case .unspecified: profile = nil
        case .UNRECOGNIZED: throw .malformed
        }
        readAheadKiB = Int(message.readAheadKib)
        allowOther = message.allowOther
        allowNonEmpty = message.allowNonEmpty
        labels = message.labels
    }

    package func serialized() throws -> [UInt8] {
        var message = Kaml_Holder_V1_MountDescription()
        message.formatVersion = Self.formatVersion
        message.name = name
        message.snapshot = Data(snapshot.bytes)
        message.store = store
        message.storeSettings = storeSettings
        message.mountPoint = Data(mountPoint.bytes)
        switch profile {
        case .passthrough: message.profile = .passthrough
        case .zeroMessageOpen: message.profile = .zeroMessageOpen
        case nil: message.profile = .unspecified
        }
        message.readAheadKib = UInt32(clamping: readAheadKiB)
        message.allowOther = allowOther
        message.allowNonEmpty = allowNonEmpty
        message.labels = labels
        return try message.serializedBytes()
    }
}
