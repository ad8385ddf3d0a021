import FuseTestSupport
import Glibc
import System
import Testing

/// The files under systemd/, judged by systemd's own tools.
@Suite struct `Units for systemd` {
    /// The repository's top, from this file's place.
    private static let top = String(#filePath.dropLast("Tests/MountHolderTests/UnitTests.swift".count))
    private static let hasSystemd = access("/usr/bin/systemd-analyze", X_OK) == 0

    private static func unit(_ name: String) throws -> String {
        String(decoding: try contents(ByteString(top + "systemd/" + name)), as: UTF8.self)
    }

    @Test(.enabled(if: hasSystemd, "systemd is not installed"))
    func `systemd finds nothing wrong`() async throws {
        try await onThread {
            let directory = try TemporaryDirectory()
            defer { directory.remove() }
            var paths: [ByteString] = []
            for name in ["kamld.service", "kamld-holder.service"] {
                // The programs are not installed where the tests run.
                let lines = try Self.unit(name).split(separator: "\n", omittingEmptySubsequences: false)
                let text = lines.map { line in
                    line.hasPrefix("ExecStart") ? line.prefix { $0 != "=" } + "=/bin/true" : line
                }
                .joined(separator: "\n")
                close(try directory.write(ByteString(name), Array(text.utf8)))
                paths.append(directory.path.appending(ByteString(name)))
            }
            let (status, said) = try run(["systemd-analyze", "verify", "--man=no"] + paths)
            #expect(status == 0 && said.isEmpty, "\(said)")
        }
    }

    @Test(
        .enabled(if: hasSystemd, "systemd is not installed"),
        arguments: [("kamld.service", 18), ("kamld-holder.service", 42)])
    func `exposure stays low`(_ name: String, _ tenths: Int) async throws {
        try await onThread {
            let (status, said) = try run([
                "systemd-analyze", "security", "--offline=true", "--no-pager",
                ByteString("--threshold=\(tenths)"),
                ByteString(Self.top + "systemd/" + name),
            ])
            #expect(status == 0, "\(said)")
        }
    }

    @Test func `the holder keeps the host's mount namespace`() throws {
        let unit = try Self.unit("kamld-holder.service")
        // Each of them would hide its mounts from everybody (systemd.exec(5)).
        let forbidden = [
            "ProtectSystem=", "ProtectHome=", "ProtectKernelTunables=", "ProtectKernelModules=",
            "ProtectKernelLogs=",
            "ProtectControlGroups=", "ProtectProc=", "ProcSubset=", "PrivateTmp=", "PrivateDevices=",
            "PrivateMounts=",
            "PrivateIPC=", "ReadOnlyPaths=", "ReadWritePaths=", "InaccessiblePaths=", "ExecPaths=",
            "NoExecPaths=",
            "BindPaths=", "BindReadOnlyPaths=", "TemporaryFileSystem=", "RootDirectory=", "RootImage=",
            "LogNamespace=",
            "DynamicUser=", "MountFlags=", "MountAPIVFS=", "ExtensionImages=",
        ]
        for line in unit.split(separator: "\n") where !line.hasPrefix("#") {
            #expect(!forbidden.contains { line.hasPrefix($0) }, "\(line)")
        }
    }

    @Test func `the agent has no capability`() throws {
        let lines = try Self.unit("kamld.service").split(separator: "\n")
        for line in ["CapabilityBoundingSet=", "AmbientCapabilities=", "NoNewPrivileges=yes", "User=kaml"] {
            #expect(lines.contains { $0 == line }, "\(line)")
        }
    }
}
