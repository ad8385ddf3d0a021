import Chunking
import DatasetStore
import Glibc
import KamlTestSupport
import ObjectStore
import Synchronization
import System
import Testing

@Suite("Moving snapshots between stores")
struct TransferTests {
    /// Three commits with small files, a large one, and differences of both kinds.
    private static func makeSource(seed: UInt64 = 71) throws -> SourceFixture {
        let source = try SourceFixture()
        var random = SplitMix64(seed: seed)
        try source.makeDirectory("d")
        for index in 0..<20 { try source.write(ByteString("d/f\(index)"), random.text(5_000)) }
        try source.write("large.bin", random.bytes(2_500_000))
        try source.write("large.txt", random.text(2_500_000))
        try source.commit { $0.message = "first" }
        for index in 0..<20 where index % 3 == 0 {
            try source.patch(ByteString("d/f\(index)"), at: 100, Array("second".utf8))
        }
        try source.patch("large.txt", at: 1_000_000, random.text(2_000))
        try source.commit { $0.message = "second" }
        try source.write("d/new", random.text(9_000))
        try source.commit {
            $0.message = "third"
            $0.metadata = ["ticket": "DATA-17"]
        }
        return source
    }

    private func move(
        _ source: Store, _ target: Store, _ name: String = "data",
        _ change: (inout TransferOptions) -> Void = { _ in }
    ) throws -> TransferResult {
        let state = try source.state()
        var options = TransferOptions()
        options.threads = 2
        change(&options)
        let wanted = try SnapshotReference(name).resolve(in: state)
        return try source.transfer([wanted], in: state, to: target, options)
    }

    /// What people see of a store: each branch's and tag's history, with every file's contents.
    private func contents(_ store: Store, _ name: String = "data") throws -> [String: [ByteString: Item]] {
        let state = try store.state()
        var found: [String: [ByteString: Item]] = [:]
        let names = try #require(state.datasets[dataset(name)])
        for (ref, sequence) in Array(names.branches) + Array(names.tags) {
            let head = try #require(state.commits[sequence])
            for (step, commit) in state.history(of: head).reversed().enumerated() {
                let label =
                    "\(ref)~\(step) \(commit.commit.message) \(commit.record.time) \(commit.commit.metadata)"
                found[label] = try items(of: store.snapshot(commit.commit.snapshot), in: store)
            }
        }
        return found
    }

    private func expectEqual(_ source: Store, _ target: Store, _ comment: Comment? = nil) throws {
        let (left, right) = try (contents(source), contents(target))
        #expect(left.keys.sorted() == right.keys.sorted(), comment)
        for (label, tree) in left { #expect(differences(tree, right[label] ?? [:]) == [], comment) }
        var options = CheckOptions()
        options.readsData = true
        let report = try StoreCheck(target.objects, options: options).run()
        #expect(report.isSound, "\(report.damages)")
    }

    @Test("the whole history arrives, with ids, times, messages and every byte")
    func everythingArrives() throws {
        let source = try Self.makeSource()
        let directory = try TemporaryDirectory()
        let target = try Store.create(at: FileObjectStore(directory.path))
        let result = try move(source.store, target)
        #expect(result.branches.map(\.commits) == [3])
        #expect(result.packs.copied == UInt64(try source.packCount))
        #expect(result.packs.skipped == 0)
        try expectEqual(source.store, target)
        for info in try source.objects.list("packs/") {
            #expect(
                try source.objects.readAll(info.key, limit: 1 << 30)
                    == target.objects.readAll(info.key, limit: 1 << 30))
        }
    }

    @Test("what the target has is not copied again, nor read")
    func incremental() throws {
        let source = try Self.makeSource()
        let target = try Store.create(at: MemoryObjectStore())
        _ = try move(source.store, target)
        let counting = CountingObjectStore(source.objects)
        let again = try move(Store.open(counting), target)
        #expect(again.nothingChanged)
        #expect(again.packs == .init())
        #expect(again.branches.first?.ahead == 0)
        // store.json and the log.
        #expect(counting.counts.read.requests <= 1 + 3)

        try source.patch("d/f1", at: 10, Array("fourth".utf8))
        try source.commit { $0.message = "fourth" }
        let fourth = try move(source.store, target)
        #expect(fourth.branches.map(\.commits) == [1])
        #expect(fourth.packs.copied == 1)
        #expect(fourth.packs.copiedBytes < 2_000)
        #expect(fourth.packs.skipped == UInt64(try source.packCount) - 1)
        try expectEqual(source.store, target)
    }

    @Test("one commit goes without those before it")
    func onlyOne() throws {
        let source = try Self.makeSource()
        let target = try Store.create(at: MemoryObjectStore())
        let result = try move(source.store, target) { $0.depth = 1 }
        #expect(result.branches.map(\.commits) == [1])
        let found = try contents(target)
        #expect(found.count == 1)
        #expect(differences(try items(of: source.root), try #require(found.values.first)) == [])
        var options = CheckOptions()
        options.readsData = true
        #expect(try StoreCheck(target.objects, options: options).run().isSound)
        // The rest may follow under another name.
        _ = try move(source.store, target, "data@main~1") { $0.branch = ref("old") }
        #expect(try contents(target).count == 3)
    }

    @Test("a difference of a manifest goes where its base is stored as a difference itself")
    func baseIsADifferenceThere() throws {
        let source = try SourceFixture()
        var random = SplitMix64(seed: 75)
        func write(_ name: String) throws {
            for index in 0..<400 { try source.write(ByteString("\(name)\(index)"), random.text(40)) }
        }
        try write("a")
        try source.commit()
        try source.write("a7", [1])
        let base = try source.commit { $0.branch = ref("other") }
        // In the target the base is a difference: it came after the first commit there.
        let target = try Store.create(at: MemoryObjectStore())
        _ = try move(source.store, target)
        _ = try move(source.store, target, "data@other")
        // In another store it is whole, and the next commit a difference from it.
        let second = try Store.create(at: MemoryObjectStore())
        _ = try move(source.store, second, "data@other") { $0.depth = 1 }
        try source.write("a9", [2])
        let result = try second.commit(
            source.options {
                $0.branch = ref("other")
                $0.usesStatCache = false
            })
        #expect(result.parent == base.snapshot)
        _ = try move(second, target, "data@other")
        let snapshot = try target.snapshot(result.snapshot)
        #expect(differences(try items(of: source.root), try items(of: snapshot, in: target)) == [])
        #expect(try StoreCheck(target.objects).run().isSound)
    }

    @Test("tags go along when they are asked for, and a tag that is named always")
    func tags() throws {
        let source = try Self.makeSource()
        var state = LogState()
        for (name, sequence) in [("v1", 1), ("v2", 2)] as [(String, UInt64)] {
            _ = try source.store.log.append(to: &state) { _ in
                .tag(TagChange(dataset: dataset("data"), name: ref(name), target: sequence))
            }
        }
        let target = try Store.create(at: MemoryObjectStore())
        let named = try move(source.store, target, "data@v1")
        #expect(named.tags == [ref("v1")])
        #expect(named.branches.map(\.name) == [.main])
        #expect(try target.state().datasets[dataset("data")]?.tags.keys.map(\.text) == ["v1"])
        let all = try move(source.store, target) { $0.movesTags = true }
        #expect(all.tags == [ref("v2")])
        #expect(all.branches.map(\.commits) == [2])
        try expectEqual(source.store, target)
    }

    @Test("branches that went apart are a conflict, found before anything is copied")
    func diverged() throws {
        let source = try Self.makeSource()
        let target = try Store.create(at: MemoryObjectStore())
        _ = try move(source.store, target)
        try source.write("x", [1])
        _ = try target.commit(source.options { $0.usesStatCache = false })
        try source.write("x", [2])
        try source.commit()
        let before = try target.objects.list("").map(\.key)
        let error = #expect(throws: StoreError.self) { try move(source.store, target) }
        #expect(error?.code == .conflict)
        #expect(error?.remedy?.contains("--branch") == true)
        #expect(try target.objects.list("").map(\.key) == before)
        _ = try move(source.store, target) { $0.branch = ref("theirs") }
        #expect(try target.state().datasets[dataset("data")]?.branches.count == 2)
    }

    @Test("a clone refuses a dataset that is there")
    func mustBeNew() throws {
        let source = try Self.makeSource()
        let target = try Store.create(at: MemoryObjectStore())
        _ = try move(source.store, target) { $0.mustBeNew = true }
        let error = #expect(throws: StoreError.self) {
            try move(source.store, target) { $0.mustBeNew = true }
        }
        #expect(error?.code == .conflict)
        let named = try move(source.store, target) {
            $0.mustBeNew = true
            $0.dataset = dataset("copy")
        }
        #expect(named.packs.copied == 0)
        #expect(try target.state().datasets.count == 2)
    }

    // MARK: - Damage

    @Test("a damaged pack is named and never published", arguments: [5, 40, 100, 3_000, -60, -5])
    func damage(_ place: Int) throws {
        let source = try Self.makeSource()
        for info in try source.objects.list("packs/") {
            let whole = try source.objects.readAll(info.key, limit: 1 << 30)
            guard whole.count > 4_000 else { continue }
            var bytes = whole
            bytes[place < 0 ? bytes.count + place : place] ^= 0x10
            source.objects.replace(info.key, with: bytes)
            let target = try Store.create(at: MemoryObjectStore())
            let error = #expect(throws: StoreError.self) { try move(source.store, target) }
            #expect(error?.code == .damaged)
            #expect(error?.object == info.key.text)
            #expect(try target.objects.size(of: info.key) == nil)
            #expect(try target.state().sequence == 0)
            source.objects.replace(info.key, with: whole)
        }
    }

    @Test("a damaged frame of a difference is found too")
    func damagedDifference() throws {
        let source = try Self.makeSource()
        let footers = PackFooters(source.objects)
        var tried = 0
        let snapshot = try source.store.snapshot(SnapshotReference("data"))
        for pack in withExtendedLifetime(snapshot, { snapshot.root.packs }) {
            let image = try footers.image(of: pack)
            guard let index = (0..<image.footer.chunkCount).first(where: { image.footer[$0].base != nil })
            else {
                continue
            }
            let entry = image.footer[index]
            let whole = try source.objects.readAll(pack.key, limit: 1 << 30)
            var bytes = whole
            bytes[Int(entry.frame.upperBound) - 1] ^= 1
            source.objects.replace(pack.key, with: bytes)
            let target = try Store.create(at: MemoryObjectStore())
            let error = #expect(throws: StoreError.self) { try move(source.store, target) }
            #expect(error?.object == pack.key.text)
            source.objects.replace(pack.key, with: whole)
            tried += 1
        }
        #expect(tried >= 2)
    }

    @Test("bytes that were hurt on the way are read again")
    func flippedOnTheWay() throws {
        let source = try Self.makeSource()
        let expected = try contents(source.store)
        let faulty = FaultyObjectStore(source.objects)
        let store = try Store.open(faulty)
        let state = try store.state()
        // Roots and footers come first; the reads after them are of packs.
        for number in 12...20 where number % 2 == 0 { faulty.on(.read, number, .flippedBit(400)) }
        let target = try Store.create(at: MemoryObjectStore())
        var options = TransferOptions()
        options.threads = 1
        do {
            _ = try store.transfer(
                [try SnapshotReference("data").resolve(in: state)], in: state, to: target, options)
            #expect(try contents(target).keys.sorted() == expected.keys.sorted())
        } catch {
            // A footer, a manifest: read once, and told. Never stored.
            #expect((error as? StoreError)?.code == .damaged)
        }
        let report = try StoreCheck(target.objects).run()
        #expect(report.isSound)
    }

    @Test("a pack of another size in the target is not trusted")
    func wrongSize() throws {
        let source = try Self.makeSource()
        let objects = MemoryObjectStore()
        let target = try Store.create(at: objects)
        let first = try #require(try source.objects.list("packs/").first)
        objects.replace(first.key, with: [1, 2, 3])
        let error = #expect(throws: StoreError.self) { try move(source.store, target) }
        #expect(error?.code == .damaged)
        #expect(error?.object == first.key.text)
        #expect(try target.state().sequence == 0)
    }

    // MARK: - Interruption and company

    /// Every request of the target fails once, for good; the run after it ends as if nothing had happened.
    @Test(
        "killed at any request of the target, the next run ends it",
        arguments: [
            StoreRequest.size, .read, .create, .makeWriter, .append, .publish, .list,
        ])
    func everyRequestMayFail(_ request: StoreRequest) throws {
        let source = try Self.makeSource()
        var number = 1
        var published = 0
        while true {
            let objects = MemoryObjectStore()
            _ = try Store.create(at: objects)
            let faulty = FaultyObjectStore(objects)
            let target = try Store.open(faulty)
            faulty.on(request, number, .fails(.inputOutput))
            let before = faulty.count(request)
            var failed = false
            do { _ = try move(source.store, target) { $0.threads = 1 } } catch { failed = true }
            if faulty.count(request) - before < number {
                #expect(!failed)
                break
            }
            let clean = try Store.open(objects)
            // Whatever the log names is whole.
            #expect(try StoreCheck(objects).run().isSound, "request \(request) \(number)")
            let packs = try objects.list("packs/").count
            let result = try move(source.store, clean)
            #expect(result.packs.skipped <= UInt64(packs))
            #expect(Int(result.packs.copied) <= (try source.packCount) - packs)
            if number % 5 == 1 { try expectEqual(source.store, clean, "request \(request) \(number)") }
            published = max(published, packs)
            number += 1
        }
        #expect(number > 1 || request == .read || request == .list)
    }

    @Test("every request of the source may fail")
    func everyReadMayFail() throws {
        let source = try Self.makeSource()
        var number = 1
        while true {
            let faulty = FaultyObjectStore(source.objects)
            let from = try Store.open(faulty)
            let objects = MemoryObjectStore()
            let target = try Store.create(at: objects)
            faulty.on(.read, number, .fails(.unavailable))
            let before = faulty.count(.read)
            do { _ = try move(from, target) { $0.threads = 1 } } catch let error as StoreError {
                #expect(error.code == .unavailable)
                #expect(try StoreCheck(objects).run().isSound)
                _ = try move(source.store, target)
            }
            if faulty.count(.read) - before < number { break }
            #expect(try target.state().head(of: .main, in: dataset("data"))?.commit.message == "third")
            number += 1
        }
        #expect(number > 10)
    }

    @Test("several who move the same at once do not hurt each other")
    func together() throws {
        let source = try Self.makeSource()
        let target = try Store.create(at: MemoryObjectStore())
        try inParallel(4) { _ in
            let state = try source.store.state()
            let wanted = try SnapshotReference("data").resolve(in: state)
            _ = try source.store.transfer([wanted], in: state, to: target, TransferOptions())
        }
        try expectEqual(source.store, target)
        #expect(try target.state().commits.count == 3)
    }

    @Test(
        "random commits on two sides, moved to and fro, end up equal or in conflict",
        arguments: 1...6 as ClosedRange<UInt64>)
    func model(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        let source = try SourceFixture()
        let stores = [source.store, try Store.create(at: MemoryObjectStore())]
        /// The snapshots that each store's branch must reach, the newest last.
        var model: [[ContentHash]] = [[], []]
        for index in 0..<6 { try source.write(ByteString("f\(index)"), random.text(3_000)) }
        for _ in 0..<14 {
            let here = Int.random(in: 0..<2, using: &random)
            if Bool.random(using: &random) {
                try source.write(ByteString("f\(random.next() % 6)"), random.text(3_000))
                let result = try stores[here].commit(source.options { $0.usesStatCache = false })
                if model[here].last != result.snapshot { model[here].append(result.snapshot) }
            } else if !model[here].isEmpty {
                let there = 1 - here
                do {
                    _ = try move(stores[here], stores[there])
                    // Whoever had less has all now.
                    #expect(
                        model[here].starts(with: model[there]) || model[there].starts(with: model[here]),
                        "seed \(seed)")
                    if model[here].count > model[there].count { model[there] = model[here] }
                } catch let error as StoreError {
                    #expect(error.code == .conflict)
                    #expect(
                        !model[here].starts(with: model[there]) && !model[there].starts(with: model[here]),
                        "seed \(seed)")
                    continue
                }
            }
            for (store, expected) in zip(stores, model) where !expected.isEmpty {
                let state = try store.state()
                let head = try #require(state.head(of: .main, in: dataset("data")))
                #expect(state.history(of: head).map(\.commit.snapshot) == expected, "seed \(seed)")
                for id in expected { _ = try items(of: store.snapshot(id), in: store) }
            }
        }
    }
}
