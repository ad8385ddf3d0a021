import Glibc
import System
import Testing

/// Several commits at once.
@Suite(.serialized) struct WriterTests {
    @Test func `of two commits to one branch both land, or one gets a conflict, and nothing is lost`()
        async throws
    {
        try await inLab(seconds: 240) { lab in
            try lab.kaml("store", "init")
            try lab.makeSmallTree()
            try lab.commit()
            var conflicts = 0
            for round in 0..<(isStress ? 40 : 8) {
                var writers: [(tree: ByteString, program: RunningProgram)] = []
                for index in 0..<2 {
                    let tree = lab.path(ByteString("tree-\(round)-\(index)"))
                    try lab.shell("cp", "-a", lab.source, tree)
                    try writeWhole(tree.appending("own"), Array("\(round) \(index)".utf8))
                    writers.append((tree, try lab.start(["kaml", "commit", "data", tree])))
                }
                var landed: [ByteString] = []
                for writer in writers {
                    let ended = try writer.program.wait()
                    switch ended.status {
                    case 0: landed.append(writer.tree)
                    case 4:
                        conflicts += 1
                        #expect(ended.errors.contains("hint:"), "\(ended)")
                    default: Issue.record("round \(round): \(ended)")
                    }
                }
                #expect(!landed.isEmpty, "round \(round)")
                // Each that was acknowledged is in the branch's history; the order is theirs.
                var missing = landed
                for back in 0..<landed.count {
                    let target = lab.path("look")
                    try lab.shell("rm", "-rf", target)
                    try lab.kaml("export", back == 0 ? "data@main" : "data@main~1", target)
                    missing = try missing.filter { try !differences($0, target).isEmpty }
                }
                #expect(missing == [], "round \(round): acknowledged and not there")
                // The one who lost commits again.
                for writer in writers where !landed.contains(writer.tree) {
                    try lab.commit(writer.tree)
                    #expect(try lab.isSound("data", equals: writer.tree) == [])
                }
            }
            print("commits at once: \(conflicts) conflicts")
            #expect(try lab.run(["kaml", "check", "--read-data"]).status == 0)
        }
    }

    @Test func `four writers of four datasets do not disturb each other`() async throws {
        try await inLab(seconds: 240) { lab in
            try lab.kaml("store", "init")
            try lab.makeSmallTree()
            var trees: [ByteString] = []
            for index in 0..<4 {
                let tree = lab.path(ByteString("tree-\(index)"))
                try lab.shell("cp", "-a", lab.source, tree)
                trees.append(tree)
            }
            for round in 0..<3 {
                var writers: [RunningProgram] = []
                for (index, tree) in trees.enumerated() {
                    try writeWhole(tree.appending("own"), Array("\(round) \(index)".utf8))
                    writers.append(try lab.start(["kaml", "commit", ByteString("data\(index)"), tree]))
                }
                for writer in writers {
                    let ended = try writer.wait()
                    #expect(ended.status == 0, "\(ended)")
                }
                for (index, tree) in trees.enumerated() {
                    #expect(try lab.isSound(ByteString("data\(index)"), equals: tree) == [])
                }
            }
            // Three commits of each.
            for index in 0..<4 { try lab.kaml("stat", ByteString("data\(index)@main~2")) }
        }
    }
}
