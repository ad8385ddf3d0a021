/// The first two numbers of a kernel's release.
package struct KernelVersion: Sendable, Hashable, Comparable, CustomStringConvertible {
    package var major: Int
    package var minor: Int

    /// FUSE passthrough, and asking the kernel to resend what a dead process had in hand.
    package static let passthrough = KernelVersion(major: 6, minor: 9)
    /// statx, openat2 and what else the read path cannot do without.
    package static let oldest = KernelVersion(major: 5, minor: 10)

    package init(major: Int, minor: Int) {
        self.major = major
        self.minor = minor
    }

    /// Of uname(2)'s release, such as `6.1.0-18-amd64`. Nil when it does not start with two numbers.
    package init?(release: String) {
        let parts = release.split(separator: ".", maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count >= 2, let major = Int(parts[0]),
            let minor = Int(parts[1].prefix(while: { $0.isASCII && $0.isNumber }))
        else { return nil }
        self.init(major: major, minor: minor)
    }

    package static func < (left: KernelVersion, right: KernelVersion) -> Bool {
        (left.major, left.minor) < (right.major, right.minor)
    }

    package var description: String { "\(major).\(minor)" }
}
