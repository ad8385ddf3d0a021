/// When to look for connections that the kernel has ended: soon after the table of mounts changed, and now and then
/// for those that end without that (a lazy unmount, after which the last file was closed).
///
/// Never by polling the connections: that would wake the holder for every request of a mount. Times in milliseconds.
struct Looks {
    private static let seldom: UInt64 = 30_000
    /// After a change; the last file system reference may go a while after the mount.
    private static let soon: [UInt64] = [0, 100, 1000, 5000]

    private var next: UInt64 = 0
    private var following: ArraySlice<UInt64> = []

    /// The table of mounts has changed.
    mutating func changed(at now: UInt64) {
        following = Self.soon[...]
        advance(now)
    }

    func milliseconds(at now: UInt64) -> Int32 { Int32(clamping: next > now ? next - now : 0) }

    mutating func isDue(at now: UInt64) -> Bool {
        guard now >= next else { return false }
        advance(now)
        return true
    }

    private mutating func advance(_ now: UInt64) { next = now + (following.popFirst() ?? Self.seldom) }
}
