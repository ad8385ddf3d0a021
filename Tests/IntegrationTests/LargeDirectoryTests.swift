import Glibc
import KamlTestSupport
import System
import Testing

extension OnMounts {
    /// A directory of 200 000 entries.
    @Suite struct LargeDirectory {
        private struct Listed: Equatable {
            var name: String
            /// Where the entry after it begins.
            var next: Int
        }

        private static func list(_ directory: OpaquePointer, limit: Int = .max) -> [Listed] {
            var found: [Listed] = []
            while found.count < limit, let entry = readdir(directory) {
                let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                    String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
                }
                if name != "." && name != ".." { found.append(Listed(name: name, next: telldir(directory))) }
            }
            return found
        }

        @Test func `its listing is complete, can be rewound, and its offsets are stable`() async throws {
            try await inLab(seconds: 300) { lab in
                let count = 200_000
                let folder = lab.source.appending("folder")
                try HostFileSystem().makeDirectory(folder, mode: 0o755)
                let script = """
                    import os, sys
                    os.chdir(sys.argv[1])
                    for i in range(int(sys.argv[2])): os.close(os.open("entry-%d" % i, os.O_CREAT | os.O_WRONLY))
                    """
                try lab.shell("python3", "-c", ByteString(script), folder, ByteString("\(count)"))
                try lab.kaml("store", "init")
                try lab.commit()
                let mount = try lab.mount()
                let directory = try #require(mount.path("folder").withCString { opendir($0) })
                defer { closedir(directory) }
                let first = Self.list(directory)
                #expect(first.count == count)
                #expect(Set(first.map(\.name)).count == count)
                #expect(Set(first.map(\.next)).count == count)
                rewinddir(directory)
                #expect(Self.list(directory) == first)
                // Rewound in the middle, and jumped about: after an offset always the same entry comes.
                rewinddir(directory)
                #expect(Self.list(directory, limit: 1234) == Array(first.prefix(1234)))
                rewinddir(directory)
                let seed = SeededRandom.explorationSeed()
                var random = SplitMix64(seed: seed)
                for _ in 0..<200 {
                    let place = Int.random(in: 0..<(count - 5), using: &random)
                    seekdir(directory, first[place].next)
                    let found = Self.list(directory, limit: 3)
                    #expect(found == Array(first[(place + 1)...(place + 3)]), "seed \(seed), after \(place)")
                }
                // Another descriptor, and another process, see the same order.
                let other = try #require(mount.path("folder").withCString { opendir($0) })
                defer { closedir(other) }
                seekdir(other, first[count / 2].next)
                #expect(Self.list(other, limit: 100) == Array(first[(count / 2 + 1)...(count / 2 + 100)]))
                let listed = try lab.shell("ls", "-U", mount.path("folder")).text.split(separator: "\n")
                #expect(listed.map(String.init) == first.map(\.name))
                #expect(
                    try lab.shell("find", mount.path("folder"), "-type", "f", "-empty").text.utf8.count(
                        where: { $0 == 10 }) == count)
            }
        }
    }
}
