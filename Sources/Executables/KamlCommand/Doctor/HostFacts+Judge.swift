import System

extension HostFacts {
    private static let overlayMagic: UInt64 = 0x794C_7630
    private static let temporaryMagic: UInt64 = 0x0102_1994
    private static let networkMagics: Set<UInt64> = [
        0x6969 /* NFS */, 0xFF53_4D42 /* CIFS */, 0xFE53_4D42 /* SMB2 */,
    ]
    private static let fuseMagic: UInt64 = 0x6573_5546
    private static let names: [UInt64: String] = [
        0xEF53: "ext4", 0x5846_5342: "xfs", 0x9123_683E: "btrfs", 0x2FC1_2FC1: "zfs",
        overlayMagic: "overlayfs",
        temporaryMagic: "tmpfs", 0x6969: "nfs", fuseMagic: "fuse",
    ]
    /// A container and its bitmap each hold one descriptor while they are in use.
    private static let wantedDescriptors: UInt64 = 65_536
    private static let wantedInodes: UInt64 = 10_000
    private static let wantedBytes: UInt64 = 1 << 30
    /// 2025-01-01: a clock before that is not set.
    private static let earliest: Int64 = 1_735_689_600

    /// What is well, what is not, and what to do about it.
    package func judge() -> [Finding] {
        [kernel, survival, device, privileges, helper, otherUsers, descriptors] + cache + [clock]
    }

    private var kernel: Finding {
        guard let version = KernelVersion(release: kernelRelease) else {
            return .warn("kernel", "unknown release \"\(kernelRelease)\"", remedy: "6.9 or newer is best")
        }
        if version < .oldest {
            return .fail(
                "kernel", "\(kernelRelease) is too old", remedy: "run 5.10 or newer, best 6.9 or newer")
        }
        if version < .passthrough {
            return .warn(
                "kernel", "\(kernelRelease) has no FUSE passthrough and cannot resend requests",
                remedy:
                    "with 6.9 or newer large files read at the disk's own speed and a mount survives its process"
            )
        }
        return .ok("kernel", "\(kernelRelease): FUSE passthrough and resend")
    }

    /// What the end of the agent does to the mounts that it serves.
    private var survival: Finding {
        guard let version = KernelVersion(release: kernelRelease), version >= .passthrough else {
            return .warn(
                "agent's end",
                "requests that an agent has in hand when it is killed hang for ever; a restart in order answers them first",
                remedy: "with 6.9 or newer the next agent is asked again; else: umount -l, and mount again")
        }
        return .ok(
            "agent's end", "mounts that kamld-holder keeps go on after a crash, a restart or an upgrade")
    }

    /// Also what a mount that fails for this says.
    static let missingDeviceRemedy =
        "modprobe fuse; in a container: give it the device (--device /dev/fuse)"
    static let closedDeviceRemedy = "chmod 0666 /dev/fuse; in a container: allow the device in its cgroup"

    private var device: Finding {
        switch fuseDevice {
        case .ok: return .ok("/dev/fuse", "can be opened")
        case .failed(.noEntry):
            return .fail(
                "/dev/fuse", "is not there",
                remedy: Self.missingDeviceRemedy)
        case .failed(.noDevice):
            return .fail("/dev/fuse", "the kernel has no FUSE", remedy: "modprobe fuse")
        case .failed(let error):
            return .fail(
                "/dev/fuse", "cannot be opened: \(error)",
                remedy: Self.closedDeviceRemedy)
        }
    }

    private var privileges: Finding {
        if hasSystemAdministration {
            return .ok("privileges", "CAP_SYS_ADMIN: passthrough and read-ahead can be set")
        }
        return .warn(
            "privileges", "no CAP_SYS_ADMIN: mounts work through fusermount3, without passthrough",
            remedy: "run the mount as root to let the kernel read large files itself")
    }

    private var helper: Finding {
        guard let mountHelper else {
            let remedy = "apt-get install fuse3"
            return isRoot
                ? .ok("fusermount3", "not found, and root does not need it")
                : .fail("fusermount3", "not found: a user cannot mount without it", remedy: remedy)
        }
        if !helperIsSetuid, !isRoot {
            return .fail(
                "fusermount3", "\(mountHelper) is not setuid root",
                remedy: "chown root \(mountHelper); chmod u+s \(mountHelper)")
        }
        return .ok("fusermount3", "\(mountHelper)")
    }

    private var otherUsers: Finding {
        if allowsOtherUsers { return .ok("fuse.conf", "user_allow_other is set") }
        if isRoot { return .ok("fuse.conf", "user_allow_other is not set; root does not need it") }
        return .warn(
            "fuse.conf", "user_allow_other is not set: only you will see your mounts",
            remedy: "as root: echo user_allow_other >> /etc/fuse.conf")
    }

    private var descriptors: Finding {
        let figures = "limit \(descriptorLimit), can be raised to \(descriptorHardLimit)"
        if descriptorHardLimit >= Self.wantedDescriptors { return .ok("open files", figures) }
        return .warn(
            "open files", figures,
            remedy: "raise it to \(Self.wantedDescriptors) (LimitNOFILE= of the service, or ulimit -Hn)")
    }

    private var cache: [Finding] {
        guard let disk = cacheDisk else {
            return [
                .fail(
                    "cache", "\(cacheDirectory) cannot be looked at",
                    remedy: "name another directory with --cache-dir or KAML_CACHE_DIR")
            ]
        }
        let findings = [cacheAccess(disk), cacheFileSystem(disk), cacheSpace(disk)]
        guard cacheIsEncrypted else { return findings }
        return findings + [.ok("cache key", "the cache is encrypted: FUSE passthrough is off for its mounts")]
    }

    private func cacheAccess(_ disk: Disk) -> Finding {
        let made = disk.path == cacheDirectory ? "" : " (will be made below \(disk.path))"
        guard case .failed(let error) = disk.writing else { return .ok("cache", "\(cacheDirectory)\(made)") }
        return .fail(
            "cache", "\(disk.path) cannot be written: \(error)",
            remedy: "change its owner, or name another directory with --cache-dir or KAML_CACHE_DIR")
    }

    private func cacheFileSystem(_ disk: Disk) -> Finding {
        let name = Self.names[disk.type] ?? "type 0x" + String(disk.type, radix: 16)
        switch disk.type {
        case Self.overlayMagic:
            return .warn(
                "cache disk", "\(name) cannot back FUSE passthrough (it is stacked already)",
                remedy: "put the cache on a volume with ext4 or XFS")
        case Self.temporaryMagic:
            return .warn(
                "cache disk", "\(name): the cache takes memory and is lost at reboot",
                remedy: "put the cache on a disk with ext4 or XFS")
        case let type where type == Self.fuseMagic || Self.networkMagics.contains(type):
            return .fail(
                "cache disk", "\(name) is no local disk",
                remedy: "put the cache on a local disk with ext4 or XFS")
        default: return .ok("cache disk", name)
        }
    }

    private func cacheSpace(_ disk: Disk) -> Finding {
        var figures = "\(BytesText.of(disk.freeBytes)) of \(BytesText.of(disk.totalBytes)) free"
        if disk.totalInodes > 0 { figures += ", \(CountText.of(disk.freeInodes, "inode")) free" }
        if disk.freeBytes < Self.wantedBytes || (disk.totalInodes > 0 && disk.freeInodes < Self.wantedInodes)
        {
            return .warn(
                "cache space", figures,
                remedy: "free some, or name another directory with --cache-dir or KAML_CACHE_DIR")
        }
        return .ok("cache space", figures)
    }

    private var clock: Finding {
        if now.seconds < Self.earliest {
            return .warn(
                "clock", "\(TimeText.utc(now)) cannot be right", remedy: "set it: commits carry its time")
        }
        return .ok("clock", TimeText.utc(now))
    }
}
