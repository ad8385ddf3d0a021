import CKamlFeed
import KamlProtos
import Glibc
import KamlTestSupport
import ObjectStore
import RecordIndex
import System
import Testing

@testable import RecordFeed

/// From the socket to the last batch: what a pod reads is what the files hold.
@Suite struct StreamTests {
    @Test("every record once an epoch, its bytes as in the file, on either plane", arguments: [0, 1, 2])
    func bytes(plane: Int) throws {
        let lab = try FeedLab(FeedLab.tree(61, upTo: 60_000))
        let pod = try lab.connect()
        let information = try pod.open { open in
            open.plane = .init(rawValue: plane) ?? .unspecified
            open.format = .files
            open.epochs = 2
        }
        #expect(information.records == 61)
        #expect(information.firstSteps == 8)
        #expect(information.columns.map(\.name) == ["record", "label", "path"])
        var seen: [UInt64] = []
        var lent = 0
        try pod.drain { batch in
            for (index, value) in (batch.values["record"] ?? []).enumerated() {
                let path = String(decoding: batch.values["path"]?[index].bytes ?? [], as: UTF8.self)
                let file = lab.files.first { $0.path == path }
                #expect(file?.bytes == value.bytes)
                #expect(batch.numbers["label"]?[index] == (path.hasPrefix("cat") ? 0 : 1))
                seen.append(value.record)
                if value.isLent { lent += 1 }
            }
        }
        #expect(seen.prefix(61).sorted() == Array(0..<61))
        #expect(seen.dropFirst(61).sorted() == Array(0..<61))
        #expect(Array(seen.prefix(61)) != Array(seen.dropFirst(61)))
        #expect(plane == 1 ? lent == 0 : lent > 0)
    }

    @Test("batches come from a cold cache as from a warm one")
    func cold() throws {
        let lab = try FeedLab(FeedLab.tree(200, upTo: 40_000), isWarm: false)
        let pod = try lab.connect()
        try pod.open { $0.format = .files }
        var count = 0
        try pod.drain { batch in
            for (index, value) in (batch.values["record"] ?? []).enumerated() {
                let path = String(decoding: batch.values["path"]?[index].bytes ?? [], as: UTF8.self)
                #expect(lab.files.first { $0.path == path }?.bytes == value.bytes)
                count += 1
            }
        }
        #expect(count == 200)
    }

    @Test("the ranks of a world have all records together, each once")
    func ranks() throws {
        let lab = try FeedLab(FeedLab.tree(100, upTo: 500))
        var seen: [UInt64] = []
        for rank in 0..<3 {
            let pod = try lab.connect()
            try pod.open { open in
                open.format = .files
                open.columns = ["record"]
                open.rank = UInt32(rank)
                open.worldSize = 3
            }
            try pod.drain { seen += ($0.values["record"] ?? []).map(\.record) }
        }
        #expect(seen.sorted() == Array(0..<100))
    }

    @Test("a stream goes on at a token as if it had never stopped, with another number of ranks too")
    func resume() throws {
        let lab = try FeedLab(FeedLab.tree(100, upTo: 500))
        let first = try lab.connect()
        let cursor = try first.open { $0.format = .files }.cursor
        var seen: [UInt64] = []
        for _ in 0..<5 {
            guard let batch = try first.next() else { break }
            seen += (batch.values["record"] ?? []).map(\.record)
        }
        for rank in 0..<2 {
            let pod = try lab.connect()
            try pod.open { open in
                open.format = .files
                open.cursor = cursor
                open.cursor.ordinal = 40
                open.rank = UInt32(rank)
                open.worldSize = 2
            }
            try pod.drain { seen += ($0.values["record"] ?? []).map(\.record) }
        }
        #expect(seen.sorted() == Array(0..<100))
    }

    @Test("after a seek batches come from there on, and older ones say so")
    func seek() throws {
        let lab = try FeedLab(FeedLab.tree(100, upTo: 500))
        let pod = try lab.connect()
        try pod.open { open in
            open.format = .files
            open.order = .sequential
            open.windowBatches = 2
        }
        let held = try pod.take()
        try pod.call {
            $0.seek.position = 9
            $0.seek.generation = 1
        }
        pod.release(held)
        while true {
            let descriptor = try pod.take()
            let batch = try pod.read(descriptor)
            if descriptor.generation == 1 {
                #expect(descriptor.position == 9)
                #expect(batch.values["record"]?.first?.record == 72)
                pod.release(descriptor)
                break
            }
            pod.release(descriptor)
        }
        var rest = 0
        try pod.drain { rest += Int($0.descriptor.records) }
        #expect(rest == 20)
        // The end is no end for ever.
        try pod.call {
            $0.seek.position = 0
            $0.seek.generation = 2
        }
        #expect(try pod.next()?.values["record"]?.first?.record == 0)
    }

    @Test("a pod that gives nothing back gets its window and no more, and others go on")
    func slowPod() throws {
        let lab = try FeedLab(FeedLab.tree(100, upTo: 500))
        let slow = try lab.connect()
        try slow.open { open in
            open.format = .files
            open.windowBatches = 3
            open.epochs = 0
        }
        var held: [kaml_descriptor] = []
        for _ in 0..<3 { held.append(try slow.take()) }
        #expect(throws: FeedPod.Silence.self) { _ = try slow.take(milliseconds: 100) }
        let other = try lab.connect()
        try other.open { $0.format = .files }
        var count = 0
        try other.drain { count += Int($0.descriptor.records) }
        #expect(count == 100)
        // In any order.
        slow.release(held[1])
        #expect(try slow.take().position == 3)
        #expect(throws: FeedPod.Silence.self) { _ = try slow.take(milliseconds: 100) }
    }

    @Test("records of equal length are dense columns")
    func fixed() throws {
        var random = SplitMix64(seed: 5)
        let bytes = random.bytes(16 + 10 * 100)
        let lab = try FeedLab([("values.bin", bytes)])
        let pod = try lab.connect()
        let information = try pod.open { open in
            open.format = .fixed
            open.recordBytes = 10
            open.headerBytes = 16
            open.order = .sequential
            open.batchSize = 64
        }
        #expect(information.columns.first?.kind == .uint8)
        #expect(information.columns.first?.width == 10)
        var read: [UInt8] = []
        try pod.drain { read += $0.dense[information.columns[0].name] ?? [] }
        #expect(read == Array(bytes[16...]))
    }

    @Test("a batch that no session may hold is an error in words, and the stream waits for a seek")
    func tooLarge() throws {
        var options = FeedOptions()
        options.sessionMemory = 16 << 20
        let lab = try FeedLab(
            [("a", [UInt8](repeating: 1, count: 100)), ("b", [UInt8](repeating: 2, count: 17 << 20))],
            options: options, lends: false)
        let pod = try lab.connect()
        try pod.open { open in
            open.format = .files
            open.order = .sequential
            open.batchSize = 1
        }
        guard let batch = try pod.next() else {
            Issue.record("there is no first batch")
            return
        }
        #expect(batch.values["record"]?.first?.bytes.count == 100)
        pod.release(batch.descriptor)
        let descriptor = try pod.take()
        #expect(descriptor.kind == UInt8(KAML_DESCRIPTOR_ERROR.rawValue))
        #expect(descriptor.position == 1)
        #expect(pod.troubles.first?.code == .exhausted)
        #expect(pod.troubles.first?.remedy.contains("batch_size") == true)
        try pod.call {
            $0.seek.position = 0
            $0.seek.generation = 1
        }
        #expect(try pod.next()?.descriptor.position == 0)
    }

    @Test("an inline stream gives the same batches in pieces")
    func inline() throws {
        let lab = try FeedLab(FeedLab.tree(20, upTo: 30_000))
        let pod = try lab.connect()
        try pod.open { open in
            open.format = .files
            open.isInline = true
            open.order = .sequential
        }
        var bytes: [UInt8] = []
        var last = try pod.call { $0.readBatch.position = 1 }.batchPiece
        bytes += Array(last.inline)
        while bytes.count < Int(last.length) {
            last = try pod.call {
                $0.readBatch.position = 1
                $0.readBatch.offset = UInt64(bytes.count)
            }.batchPiece
            bytes += Array(last.inline)
        }
        var descriptor = kaml_descriptor()
        descriptor.records = last.records
        descriptor.table = last.table
        let batch = try bytes.withUnsafeBytes { try pod.read(descriptor, in: $0, at: 0) }
        #expect(batch.values["record"]?.map(\.bytes) == lab.files[8..<16].map(\.bytes))
        #expect(try pod.call { $0.readBatch.position = 9 }.batchPiece.kind == KAML_DESCRIPTOR_END.rawValue)
    }

    @Test("a store that fails is an error for one batch, and after a seek it is tried again")
    func storeFails() throws {
        let lab = try FeedLab(FeedLab.tree(40, upTo: 30_000), isWarm: false)
        let pod = try lab.connect()
        // `files` need no bytes to be indexed: now the manifest is here, and nothing else.
        try lab.connect().open { open in
            open.format = .files
            open.isInline = true
        }
        lab.faulty.failAll(.unavailable)
        #expect(try pod.open { $0.format = .files }.records == 40)
        let descriptor = try pod.take()
        #expect(descriptor.kind == UInt8(KAML_DESCRIPTOR_ERROR.rawValue))
        #expect(pod.troubles.first?.isRetryable == true)
        #expect(pod.troubles.first?.message.contains("data@main") == true)
        lab.faulty.failAll(nil)
        // A read that was under way may fail what joins it once more.
        var seen = 0
        for generation in 1...50 where seen < 40 {
            try pod.call {
                $0.seek.position = 0
                $0.seek.generation = UInt32(generation)
            }
            seen = 0
            try? pod.drain { seen += Int($0.descriptor.records) }
            if seen < 40 { usleep(20_000) }
        }
        #expect(seen == 40)
    }
}
