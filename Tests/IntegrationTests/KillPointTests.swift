import Glibc
import System
import Testing

/// kill -9 at the n-th call of a kind, for every kind of call that changes a file, and every n.
@Suite(.serialized) struct KillPointTests {
    static let calls: [ByteString] = [
        "write", "pwrite64", "fsync", "rename", "link", "mkdir", "unlink", "openat",
        // Not made today: a run without a kill each, so that a change of the code does not go untested.
        "fdatasync", "ftruncate", "renameat2", "linkat", "pwritev",
    ]

    /// Runs a program that dies at its n-th call; true when it did.
    static func isKilled(_ lab: Lab, at call: ByteString, _ number: Int, _ words: [ByteString]) throws -> Bool
    {
        let inject = ByteString("inject=\(call):signal=KILL:when=\(number)")
        // strace injects only into calls that it traces.
        let trace = ByteString("trace=\(call)")
        let ended = try lab.run(
            ["strace", "-f", "-qq", "-o", "/dev/null", "-e", trace, "-e", inject] + words)
        if ended.status == -SIGKILL { return true }
        guard ended.status == 0 else { throw Trouble("neither done nor killed: \(ended)") }
        return false
    }

    /// A kill of a commit at any point leaves a clean store, harms no snapshot, and does not stop the next commit.
    @Test(arguments: calls) func `a killed commit does no harm`(call: ByteString) async throws {
        try await inLab(seconds: 600) { lab in
            try lab.kaml("store", "init")
            try lab.makeSmallTree()
            let empty = lab.path("empty-store")
            try lab.shell("cp", "-a", lab.store, empty)
            try Self.killEverywhere(lab, call, from: empty, before: nil)

            let (first, old) = (lab.path("first-store"), lab.path("old-source"))
            try lab.shell("rm", "-rf", lab.store)
            try lab.shell("cp", "-a", empty, lab.store)
            try lab.commit()
            try lab.shell("cp", "-a", lab.store, first)
            try lab.shell("cp", "-a", lab.source, old)
            try lab.changeSmallTree()
            try Self.killEverywhere(lab, call, from: first, before: old)
        }
    }

    /// `before` is what the dataset's first snapshot must still be, when there is one.
    private static func killEverywhere(
        _ lab: Lab, _ call: ByteString, from base: ByteString, before: ByteString?
    ) throws {
        var number = 1
        // Reads of libraries and of /proc come first; they are of no interest.
        let step = isStress ? 1 : call == "openat" ? 23 : 4
        while true {
            try lab.shell("rm", "-rf", lab.store, lab.path("xdg"))
            try lab.shell("cp", "-a", base, lab.store)
            let commit: [ByteString] = ["kaml", "commit", "data", lab.source]
            let wasKilled = try isKilled(lab, at: call, number, commit)
            let place = "\(call) \(number)"
            let check = try lab.run(["kaml", "check", "--read-data"])
            #expect(check.status == 0, "after a kill at \(place): \(check)")
            let again = try lab.run(commit)
            #expect(again.status == 0, "after a kill at \(place): \(again)")
            let found = try lab.isSound("data", equals: lab.source)
            #expect(found == [], "after a kill at \(place)")
            if let before {
                let found = try lab.isSound("data@main~1", equals: before)
                #expect(found == [], "after a kill at \(place)")
            }
            guard wasKilled else { return }
            number += step
        }
    }
}
