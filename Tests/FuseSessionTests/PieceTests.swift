import DatasetFS
import FuseMount
@testable import FuseSession
import System
import Testing

@Suite struct OpenModesTests {
    private let inode = Inode(rawValue: 7)

    @Test func `the first open decides until the last release`() {
        var modes = OpenModes()
        #expect(modes.prescribed(for: inode) == nil)
        modes.opened(inode, as: .passthrough(backing: 4))
        #expect(modes.prescribed(for: inode) == .passthrough(backing: 4))
        modes.opened(inode, as: .passthrough(backing: 4))
        #expect(modes.released(inode) == nil)
        #expect(modes.prescribed(for: inode) == .passthrough(backing: 4))
        #expect(modes.released(inode) == 4)
        #expect(modes.prescribed(for: inode) == nil)
        modes.opened(inode, as: .cached)
        #expect(modes.prescribed(for: inode) == .cached)
        #expect(modes.released(inode) == nil)
        #expect(modes.openInodes == 0)
    }

    @Test func `a release too many changes nothing`() {
        var modes = OpenModes()
        #expect(modes.released(inode) == nil)
        #expect(modes.openInodes == 0)
    }

    @Test func `inodes do not mix`() {
        var modes = OpenModes()
        modes.opened(inode, as: .cached)
        #expect(modes.prescribed(for: Inode(rawValue: 8)) == nil)
    }
}

@Suite struct MountTableTests {
    @Test func `fields are found behind any number of optional ones, and unescaped`() {
        let text = """
            22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
            42 27 0:39 / /mnt/with\\040space\\134x ro,nosuid - fuse.kaml kaml:a\\040b@main ro,user_id=0
            43 27 0:40 / /mnt/many ro master:1 propagate_from:2 unbindable - tmpfs none rw
            nonsense
            44 27 0:41 / /mnt/short ro -

            """
        let entries = MountTable.parse(Array(text.utf8))
        #expect(entries.map(\.mountPoint) == ["/", "/mnt/with space\\x", "/mnt/many"])
        #expect(entries.map(\.isFuse) == [false, true, false])
        #expect(entries[1].source == "kaml:a b@main")
        #expect(entries[1].device == "0:39")
    }
}

@Suite struct HandshakeTests {
    private func request(flags: UInt32, flags2: UInt32) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 104)
        bytes.withUnsafeMutableBytes { raw in
            raw.storeBytes(of: 26, toByteOffset: 4, as: UInt32.self)
            raw.storeBytes(of: 41, toByteOffset: 44, as: UInt32.self)
            raw.storeBytes(of: flags, toByteOffset: 52, as: UInt32.self)
            raw.storeBytes(of: flags2, toByteOffset: 56, as: UInt32.self)
        }
        return bytes
    }

    private func amended(_ request: [UInt8], length: Int = 64) -> (Bool, Handshake) {
        var body = [UInt8](repeating: 0, count: length)
        let offered = Handshake(request: request, reply: []).offered
        let enabled = body.withUnsafeMutableBytes { Init.enablePassthrough(offered: offered, reply: $0) }
        return (enabled, Handshake(request: request, reply: [UInt8](repeating: 0, count: 16) + body))
    }

    @Test func `passthrough is agreed on when it was offered`() {
        let (enabled, handshake) = amended(request(flags: 1 << 30, flags2: 1 << 5))
        #expect(enabled && handshake.hasPassthrough)
        #expect(handshake.kernelMinor == 41)
        #expect(handshake.reply[16 + 36] == 1)
    }

    @Test func `passthrough is not asked of a kernel that did not offer it`() {
        #expect(!amended(request(flags: 1 << 30, flags2: 0)).0)
        // Without the extension bit the second word means nothing.
        #expect(!amended(request(flags: 0, flags2: 1 << 5)).0)
        #expect(!amended(request(flags: 1 << 30, flags2: 1 << 5), length: 24).0)
    }

    @Test func `short messages read as zero`() {
        let handshake = Handshake(request: [1, 2, 3], reply: [])
        #expect(handshake.offered == 0 && handshake.agreed == 0 && handshake.maxPages == 0)
    }
}
