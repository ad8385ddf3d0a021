import Glibc
import System
import Testing

extension OnMounts {
    /// A damaged store under a mount: an error for what is hurt, everything else goes on, and never a wrong byte.
    @Suite struct Damage {
        enum Harm: String, CaseIterable { case truncated, flipped, missing, swapped, empty }

        private static func harm(_ harm: Harm, _ object: ByteString, other: ByteString) throws {
            var bytes = try readWhole(object)
            try HostFileSystem().unlink(object)
            switch harm {
            case .missing: return
            case .truncated: bytes.removeLast(bytes.count / 3)
            // In the middle of the object; for a large file that is its second chunk.
            case .flipped: bytes[bytes.count / 2] ^= 0x10
            case .swapped: bytes = try readWhole(other)
            case .empty: bytes = []
            }
            try writeWhole(object, bytes)
        }

        private static func objects(_ lab: Lab, _ folder: ByteString) throws -> [ByteString] {
            let found = try lab.shell(
                "find", lab.store.appending(folder), "-type", "f", "-printf", "%s %p\\0")
            let sized = found.output.split(separator: 0).compactMap { line -> (Int, ByteString)? in
                let parts = line.split(separator: UInt8(ascii: " "), maxSplits: 1)
                guard parts.count == 2, let size = Int(String(decoding: parts[0], as: UTF8.self)) else {
                    return nil
                }
                return (size, ByteString(Array(parts[1])))
            }
            return sized.sorted { $0.0 < $1.0 }.map(\.1)
        }

        /// The pack of the large file is hurt while the snapshot is mounted and nothing is cached.
        @Test(arguments: Harm.allCases)
        func `a damaged pack is EIO for its file only, and the log names dataset, snapshot and path`(
            kind: Harm
        ) async throws {
            try await inLab { lab in
                try lab.makeSmallTree()
                try lab.kaml("store", "init")
                let snapshot = try lab.commit()
                let mount = try lab.mount("data@main")
                let packs = try Self.objects(lab, "packs")
                let pack = try #require(packs.last)
                let whole = try readWhole(pack)
                try Self.harm(kind, pack, other: packs[0])

                let failed = try lab.run(["cat", mount.path("large")])
                #expect(failed.status == 1 && failed.errors.contains("Input/output error"), "\(failed)")
                let wanted = try readWhole(lab.source.appending("large"))
                #expect(wanted.starts(with: failed.output), "what was read before the error is right")
                for word in ["data@main", String(snapshot.prefix(12)), "large"] {
                    #expect(mount.log.contains(word), "\(word) is not in: \(mount.log)")
                }
                #expect(try differences(lab.source.appending("folder"), mount.path("folder")) == [])
                #expect(try firstDifference(lab.source.appending("empty"), mount.path("empty")) == nil)

                try self.isReported(lab, "large")

                // Somebody puts the pack back: the mount needs no restart.
                try? HostFileSystem().unlink(pack)
                try writeWhole(pack, whole)
                #expect(try differences(lab.source, mount.path) == [])
                try mount.unmount()
            }
        }

        /// `check` finds it and says what it hurts; `cat` and `export` fail rather than give wrong bytes.
        private func isReported(_ lab: Lab, _ path: ByteString) throws {
            for mode in [["--read-data"], []] as [[ByteString]] {
                let check = try lab.run(["kaml", "check"] + mode)
                // Without reading the data a flipped bit in it cannot be seen.
                if mode.isEmpty && check.status == 0 { continue }
                #expect(check.status == 5, "\(check)")
                #expect(check.text.contains("data@main") && check.text.contains("\(path)"), "\(check)")
            }
            let cat = try lab.run(["kaml", "cat", ByteString("data:\(path)")])
            #expect(cat.status == 5 || cat.status == 3, "\(cat.errors)")
            #expect(cat.errors.contains("\(path)") && cat.errors.contains("hint:"), "\(cat.errors)")
            #expect(try readWhole(lab.source.appending(path)).starts(with: cat.output))
            let target = lab.path("exported")
            let export = try lab.run(["kaml", "export", "data", target])
            #expect(export.status == 5 && export.errors.contains("\(path)"), "\(export)")
            #expect(try !names(target).contains(path), "a file that is not whole is left out")
            let others = try differences(lab.source.appending("folder"), target.appending("folder"))
            #expect(others == [], "\(export)")
            try lab.shell("rm", "-rf", target)
        }

        @Test(arguments: Harm.allCases)
        func `damaged manifests and log records stop what needs them, with exit code 5`(kind: Harm)
            async throws
        {
            try await inLab { lab in
                try lab.makeSmallTree()
                try lab.kaml("store", "init")
                try lab.makeSmallTree(seed: 99)
                try lab.commit(to: "other")
                try lab.makeSmallTree()
                try lab.commit()
                let good = lab.path("good")
                try lab.shell("cp", "-a", lab.store, good)
                for folder in ["manifests", "log"] as [ByteString] {
                    let count = try Self.objects(lab, folder).count
                    for index in 0..<count {
                        try lab.shell("rm", "-rf", lab.store, lab.path("cache"), lab.path("mount"))
                        try lab.shell("cp", "-a", good, lab.store)
                        let all = try Self.objects(lab, folder)
                        // The log's last record missing is a log that is one shorter: no damage that can be seen.
                        if folder == "log" && kind == .missing && index == count - 1 { continue }
                        let object = folder == "log" ? all.sorted()[index] : all[index]
                        try Self.harm(kind, object, other: all[index == 0 ? 1 : 0])
                        let check = try lab.run(["kaml", "check"])
                        let name = ByteString(
                            Array(object.bytes.split(separator: UInt8(ascii: "/")).last ?? []))
                        #expect(check.status == 5 && check.text.contains("\(name)"), "\(object): \(check)")
                        try self.mountIsRefusedOrRight(lab, "data", object)
                    }
                }
            }
        }

        /// A mount either does not come up, or gives errors for what is hurt; it never shows anything wrong.
        private func mountIsRefusedOrRight(_ lab: Lab, _ dataset: ByteString, _ object: ByteString) throws {
            let mount = try lab.startMount(dataset)
            guard
                try until(seconds: 20, { mount.log.contains("is mounted on") || mount.program.poll() != nil })
            else {
                throw Trouble("neither mounted nor refused: \(mount.log)")
            }
            if let status = mount.program.poll() {
                #expect(status == 5 || status == 3, "\(object): \(status) \(mount.log)")
                #expect(mount.log.contains("hint:"), "\(object): \(mount.log)")
                return
            }
            let read = try lab.run(["diff", "-r", "--no-dereference", lab.source, mount.path])
            if read.status != 0 {
                #expect(
                    !read.text.contains("differ") && read.errors.contains("Input/output error"),
                    "\(object): \(read)")
            }
            mount.clear()
            #expect(try mount.program.wait(seconds: 20).status == 0)
        }

        @Test func `a store of a newer format is refused before anything is read`() async throws {
            try await inLab { lab in
                try lab.makeSmallTree()
                try lab.kaml("store", "init")
                try lab.commit()
                let file = lab.store.appending("store.json")
                let text = String(decoding: try readWhole(file), as: UTF8.self)
                let newer = text.split(separator: "\n").map { line in
                    line.contains("ormatVersion") ? String(line).replacing("1", with: "2") : String(line)
                }.joined(separator: "\n")
                #expect(newer != text)
                try HostFileSystem().unlink(file)
                try writeWhole(file, Array(newer.utf8))
                for words in [["log", "data"], ["cat", "data:large"], ["commit", "data", lab.source]]
                    as [[ByteString]]
                {
                    let ended = try lab.run(["kaml"] + words)
                    #expect(
                        ended.status == 8 && ended.output.isEmpty && ended.errors.contains("hint:"),
                        "\(ended)")
                }
            }
        }
    }
}
