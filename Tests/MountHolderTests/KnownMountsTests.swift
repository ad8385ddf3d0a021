import FuseMount
@testable import MountHolder
import System
import Testing

@Suite struct `Finding one's mounts at a holder` {
    private func mount(_ id: UInt64, _ device: ByteString) -> HeldMount {
        HeldMount(id: id, mountPoint: "/mnt/a", source: "kaml:x", device: device, description: [])
    }

    @Test func `a mount whose adoption was never answered gets the id that the holder gave it`() {
        var known = KnownMounts()
        known.insert(mount(1, "0:55"))
        known.insert(mount(2, "0:56"))
        // Both ids are the agent's own from before; 2 is another mount's now.
        for held in [mount(2, "0:55"), mount(3, "0:56")] { known.claim(held) }
        #expect(known.id(of: mount(2, "0:55")) == 1)
        #expect(known.id(of: mount(3, "0:56")) == 2)
        #expect(known.id(of: mount(2, "0:57")) == nil)
    }

    @Test func `one that has ended does not take the id of a newer one with its device number`() {
        var known = KnownMounts()
        known.insert(mount(6, "0:55"))
        for held in [mount(5, "0:55"), mount(6, "0:55")] { known.claim(held) }
        #expect(known.id(of: mount(5, "0:55")) == nil)
        #expect(known.id(of: mount(6, "0:55")) == 6)
    }
}
