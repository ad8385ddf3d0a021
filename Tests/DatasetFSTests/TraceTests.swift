import DatasetStore
import Glibc
import KamlTestSupport
import NodeCache
import ObjectStore
import Synchronization
import System
import Telemetry
import Testing

@testable import DatasetFS

/// What is recorded of reads.
@Suite struct ReadTraceTests {
    let fixture: FileSystemFixture
    let recorder = SpanRecorder(Sampler(ratio: 1))
    let content = SeededRandom(seed: 5).bytes(600_000)

    init() throws { fixture = try FileSystemFixture() }

    /// One file of one chunk.
    func mount() throws -> DatasetFS {
        let (pack, entries) = try fixture.pack([content], layout: .slots)
        return try fixture.mount(
            [(content.count, .chunk(.init(pack: pack, chunk: 0, entry: entries[0])))], throughCache: true)
    }

    @Test("a read that misses is one trace, from the manifest to the write")
    func miss() throws {
        let files = try mount()
        var spans: [FinishedSpan] = []
        var own: [FinishedSpan] = []
        var found: FinishedSpan?
        try withTracing(recorder) {
            let bytes = try files.read(2, content.count)
            #expect(bytes == content)
            // The reader has its bytes before the fetch is done with them; other suites read too.
            for _ in 0..<1000 where !own.contains(where: { $0.name == "fetch" }) {
                spans += recorder.take(after: 10_000_000)
                found = spans.first {
                    $0.name == "read" && $0.attributes.contains(.init("kaml.dataset", .text(files.name)))
                }
                own = spans.filter { $0.context.traceID == found?.context.traceID }
            }
        }
        let read = try #require(found)
        func span(_ name: String) throws -> FinishedSpan {
            try #require(own.first { $0.name == name }, "no span \(name) among \(own.map(\.name))")
        }
        #expect(read.parent == nil && read.kind == .server)
        let fetch = try span("fetch")
        #expect(try span("manifest").parent == read.context.spanID)
        #expect(fetch.parent == read.context.spanID)
        for part in ["verification", "write"] {
            #expect(try span(part).parent == fetch.context.spanID)
            #expect(try span(part).start >= fetch.start && span(part).end <= fetch.end)
        }
        #expect(read.outcome == .unset)
    }

    @Test("a read that hits leaves no trace")
    func hit() throws {
        let files = try mount()
        _ = try files.read(2, content.count)
        let bytes = try withTracing(recorder) { try files.read(2, content.count) }
        #expect(bytes == content)
        let spans = recorder.take(after: 0)
        #expect(!spans.contains { $0.attributes.contains(.init("kaml.dataset", .text(files.name))) })
    }

    @Test("a read that fails says so, and is kept although nobody sampled it")
    func failure() throws {
        let files = try mount()
        for info in try fixture.store.list("packs/") { try fixture.store.delete(info.key) }
        let unsampled = SpanRecorder(Sampler(ratio: 0))
        #expect(throws: Errno.inputOutput) {
            try withTracing(unsampled) { try files.read(2, content.count) }
        }
        let spans = unsampled.take(after: 0)
        let read = try #require(
            spans.first {
                $0.name == "read" && $0.attributes.contains(.init("kaml.dataset", .text(files.name)))
            })
        guard case .failed = read.outcome else {
            Issue.record("a read that failed does not say so")
            return
        }
        #expect(spans.contains { $0.name == "manifest" && $0.context.traceID == read.context.traceID })
    }

    @Test("a read that waits is known by its age, and counted when it is answered")
    func waiting() throws {
        let clock = HandClock(seconds: 1)
        let reads = WaitingReads(clock, dataset: "d")
        #expect(reads.oldest == nil)
        let first = reads.begin(bytes: 1)
        clock.advance(10)
        let second = reads.begin(bytes: 1)
        #expect(reads.oldest == 1_000_000_000)
        reads.answered(first, bytes: 1)
        #expect(reads.oldest == 1_000_000_010)
        reads.failed(second, Errno.inputOutput, .disk)
        #expect(reads.oldest == nil)
    }
}
