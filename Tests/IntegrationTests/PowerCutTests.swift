import Chunking
import Glibc
import KamlTestSupport
import System
import Testing

/// A power cut after every call of a commit, on a file system that keeps only what was synced.
///
/// The calls are recorded from the real program; the disk is a model, so that every point and every kind of loss is
/// tried, not those that a real cut happens to hit.
@Suite(.serialized) struct PowerCutTests {
    /// Writes a model's survivors out as a store. The lab's own store must not be there.
    private static func build(_ survivors: [ByteString: [UInt8]?], at store: ByteString) throws {
        let files = HostFileSystem()
        TemporaryDirectory.remove(store)
        try files.makeDirectories(store)
        for (path, bytes) in survivors.sorted(by: { $0.key < $1.key }) {
            if let bytes {
                try writeWhole(store.appending(path), bytes)
            } else {
                try files.makeDirectory(store.appending(path), mode: 0o755)
            }
        }
    }

    /// Cuts the power after every call that matters. `after` is told what stands then, and whether all calls were made.
    private static func cutEverywhere(
        _ lab: Lab, _ model: inout DurabilityModel, _ calls: [TracedCall],
        _ after: (_ place: String, _ isLast: Bool) throws -> Void
    ) throws -> Int {
        var seen: Set<ContentHash> = []
        for (index, call) in calls.enumerated() {
            let isLast = index == calls.count - 1
            guard model.apply(call) || isLast else { continue }
            for loss in DurabilityModel.Loss.allCases {
                let survivors = model.survivors(loss)
                var image: [UInt8] = isLast ? [1] : [0]
                for (path, bytes) in survivors.sorted(by: { $0.key < $1.key }) {
                    // Leftovers of unfinished writes are of no interest by themselves.
                    if path.bytes.starts(with: Array(".tmp/".utf8)) && !isStress { continue }
                    image += path.bytes + [0] + (bytes.map { Array("\($0.count) ".utf8) + $0 } ?? [])
                }
                guard seen.insert(ContentHash.of(.file, image)).inserted else { continue }
                try build(survivors, at: lab.store)
                try after("\(loss) lost after call \(index): \(call.name)", isLast)
            }
        }
        return seen.count
    }

    @Test func `a power cut at any point of a commit leaves a clean store, the old snapshot or also the new one`() async throws {
        try await inLab(seconds: 600) { lab in
            try lab.kaml("store", "init")
            try lab.makeSmallTree()
            try lab.commit()
            let old = lab.path("old")
            try lab.shell("cp", "-a", lab.source, old)
            try lab.changeSmallTree()
            var model = try DurabilityModel(root: lab.store)
            let calls = try lab.trace(["kaml", "commit", "data", lab.source])
            let states = try Self.cutEverywhere(lab, &model, calls) { place, isLast in
                let check = try lab.run(["kaml", "check", "--read-data"])
                #expect(check.status == 0, "\(place): \(check)")
                let log = try lab.run(["kaml", "log", "data", "-o", "json"])
                let commits = log.text.split(separator: "\n").filter { $0.contains("\"snapshot\"") }.count
                if isLast { #expect(commits == 2, "an acknowledged commit is lost: \(place)") }
                let wanted = commits == 2 ? ["data@main~1": old, "data": lab.source] : ["data": old]
                for (reference, tree) in wanted {
                    let found = try lab.isSound(ByteString(reference), equals: tree)
                    #expect(found == [], "\(reference): \(place)")
                }
                // What was left behind does not stand in the way of the next commit.
                let again = try lab.run(["kaml", "commit", "data", lab.source])
                let found = try lab.isSound("data", equals: lab.source)
                #expect(again.status == 0 && found == [], "\(place): \(again)")
            }
            #expect(states > 10, "no states: \(calls.count) calls")
        }
    }

    @Test func `what a killed commit left unsynced and the next one leans on is durable when that one is done`() async throws {
        try await inLab(seconds: 600) { lab in
            try lab.kaml("store", "init")
            try lab.makeSmallTree()
            let empty = lab.path("empty-store")
            try lab.shell("cp", "-a", lab.store, empty)
            for kill in ["link", "fsync", "mkdir", "unlink"] as [ByteString] {
                var number = 1
                while true {
                    try lab.shell("rm", "-rf", lab.store, lab.path("xdg"))
                    try lab.shell("cp", "-a", empty, lab.store)
                    var model = try DurabilityModel(root: lab.store)
                    let commit: [ByteString] = ["kaml", "commit", "data", lab.source]
                    let first = try lab.trace(commit, killedAt: (kill, number))
                    for call in first { _ = model.apply(call) }
                    for call in try lab.trace(commit) { _ = model.apply(call) }
                    try Self.build(model.survivors(.all), at: lab.store)
                    let found = try lab.isSound("data", equals: lab.source)
                    #expect(found == [], "killed at \(kill) \(number), then done, then cut")
                    // Not killed: it printed that it was done.
                    if first.contains(where: { $0.name == "write" && $0.number(0) == 1 }) { break }
                    number += 1
                }
            }
        }
    }
}
