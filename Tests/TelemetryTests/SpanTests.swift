import Glibc
import KamlTestSupport
import System
import Testing

@testable import Telemetry

struct SpanTests {
    let clock = HandClock()

    func recorder(_ sampler: Sampler) -> SpanRecorder {
        SpanRecorder(
            sampler, slowNanoseconds: 1_000_000_000, clock: clock, random: SeededRandom(seed: 7))
    }

    @Test func aSampledTraceIsExportedAsItsSpansEnd() {
        let recorder = recorder(Sampler(ratio: 1))
        let root = recorder.startRoot("read", .server)
        let child = root.child("fetch", .client)
        clock.advance(5)
        child.set("bytes", 10)
        child.end()
        #expect(recorder.take(after: 0).map(\.name) == ["fetch"])
        clock.advance(5)
        root.end()
        let spans = recorder.take(after: 0)
        #expect(spans.map(\.name) == ["read"])
        #expect(spans[0].end - spans[0].start == 10)
        #expect(child.context.traceID == root.context.traceID)
        #expect(child.context.isSampled)
    }

    @Test func aFastTraceThatNobodySampledLeavesNothing() {
        let recorder = recorder(Sampler(ratio: 0))
        let root = recorder.startRoot("read")
        root.child("fetch").end()
        clock.advance(999_999_999)
        root.end()
        #expect(recorder.take(after: 0).isEmpty)
        #expect(recorder.counts == SpanRecorder.Counts())
    }

    @Test func aSlowTraceIsExportedWholeAlthoughNobodySampledIt() {
        let recorder = recorder(Sampler(ratio: 0))
        let root = recorder.startRoot("read")
        let child = root.child("fetch")
        child.end()
        let late = root.child("write")
        clock.advance(1_000_000_000)
        #expect(recorder.take(after: 0).isEmpty)
        root.end()
        #expect(recorder.take(after: 0).map(\.name) == ["fetch", "read"])
        // What ends after the root belongs to it all the same.
        late.end()
        #expect(recorder.take(after: 0).map(\.name) == ["write"])
    }

    @Test func aFailedTraceIsExportedAlthoughNobodySampledIt() {
        let recorder = recorder(Sampler(ratio: 0))
        let root = recorder.startRoot("read")
        root.child("fetch").end()
        root.end(failed: Errno.inputOutput)
        let spans = recorder.take(after: 0)
        #expect(spans.map(\.name) == ["fetch", "read"])
        #expect(spans[1].outcome == .failed("\(Errno.inputOutput)"))
    }

    @Test func aFailureThatTheReaderDidNotFeelKeepsNothing() {
        let recorder = recorder(Sampler(ratio: 0))
        let root = recorder.startRoot("read")
        root.child("first attempt").end(failed: Errno.inputOutput)
        root.end()
        #expect(recorder.take(after: 0).isEmpty)
    }

    @Test func aTraceThatWaitsTakesBoundedMemory() {
        let recorder = recorder(Sampler(ratio: 0))
        let root = recorder.startRoot("read")
        for _ in 0..<10_000 { root.child("request").end() }
        root.end(failed: Errno.inputOutput)
        #expect(recorder.take(after: 0).count == LocalTrace.limit + 1)
    }

    @Test func aFullQueueDropsAndCounts() {
        let recorder = recorder(Sampler(ratio: 1))
        for _ in 0..<SpanRecorder.queueLimit + 100 { recorder.startRoot("read").end() }
        #expect(recorder.counts.queued == UInt64(SpanRecorder.queueLimit))
        #expect(recorder.counts.dropped == 100)
        #expect(recorder.take(after: 0).count == SpanRecorder.queueLimit)
        recorder.startRoot("read").end()
        #expect(recorder.waiting == 1)
    }

    @Test func largeSpansFillTheQueueByTheirBytes() {
        let recorder = recorder(Sampler(ratio: 1))
        let text = String(repeating: "x", count: 64 << 10)
        for _ in 0..<1000 {
            let span = recorder.startRoot("read")
            for number in 0..<100 { span.set("key-\(number)", text) }
            for _ in 0..<100 { span.add(event: text, [SpanAttribute("a", .text(text))]) }
            for _ in 0..<100 { span.add(link: span.context) }
            span.end()
        }
        let spans = recorder.take(after: 0)
        #expect(spans.reduce(0) { $0 + $1.weight } <= SpanRecorder.queueBytes)
        #expect(spans.count < 1000)
        #expect(spans[0].attributes.count == SpanLimits.attributes)
        #expect(spans[0].droppedAttributes == 100 - UInt32(SpanLimits.attributes))
        #expect(spans[0].droppedEvents == 100 - UInt32(SpanLimits.events))
        #expect(spans[0].droppedLinks == 100 - UInt32(SpanLimits.links))
    }

    @Test func aCallersDecisionStands() throws {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0"
        let sampled = try #require(SpanContext(traceparent: text + "1"))
        let unsampled = try #require(SpanContext(traceparent: text + "0"))
        #expect(recorder(Sampler(ratio: 0)).startRoot("a", parent: sampled).context.isSampled)
        #expect(!recorder(Sampler(ratio: 1)).startRoot("a", parent: unsampled).context.isSampled)
        #expect(
            recorder(Sampler(ratio: 1, followsParent: false)).startRoot("a", parent: unsampled).context
                .isSampled)
        let root = recorder(Sampler(ratio: 1)).startRoot("a", parent: sampled)
        #expect(root.context.traceID == sampled.traceID)
        #expect(root.context.spanID != sampled.spanID)
    }

    @Test func theRatioOfTracesIsSampled() {
        let recorder = recorder(Sampler(ratio: 0.1))
        let sampled = (0..<10_000).filter { _ in recorder.startRoot("read").context.isSampled }.count
        #expect((800...1200).contains(sampled))
    }

    @Test func namesOfSpansAreAllDifferent() {
        let recorder = recorder(Sampler(ratio: 1))
        let contexts = (0..<10_000).map { _ in recorder.startRoot("read").context }
        #expect(Set(contexts.map(\.spanID)).count == contexts.count)
        #expect(Set(contexts.map(\.traceID)).count == contexts.count)
    }

    @Test(arguments: [
        ("always_on", nil, Sampler(ratio: 1, followsParent: false)),
        ("always_off", nil, Sampler(ratio: 0, followsParent: false)),
        ("traceidratio", "0.25", Sampler(ratio: 0.25, followsParent: false)),
        ("parentbased_traceidratio", "0.01", Sampler(ratio: 0.01)),
        ("parentbased_always_on", nil, Sampler(ratio: 1)), ("parentbased_always_off", "", Sampler(ratio: 0)),
        ("parentbased_traceidratio", "1.5", nil), ("parentbased_traceidratio", "many", nil),
        ("traceidratio", "nan", nil), ("sometimes", nil, nil),
    ])
    func samplersHaveTheirNamesOfOpenTelemetry(name: String, argument: String?, wanted: Sampler?) {
        #expect(Sampler(name: name, argument: argument) == wanted)
    }

    @Test func aSpanEndsOnce() {
        let recorder = recorder(Sampler(ratio: 1))
        let span = recorder.startRoot("read")
        span.end()
        span.end()
        #expect(!span.isRecording)
        #expect(recorder.take(after: 0).count == 1)
    }

    @Test func aClockThatRunsBackMakesNoNegativeSpan() {
        let recorder = recorder(Sampler(ratio: 1))
        let span = recorder.startRoot("read")
        span.end(time: 5)
        let ended = recorder.take(after: 0)
        #expect(ended[0].end == ended[0].start)
    }
}

struct TraceTests {
    let recorder = SpanRecorder(Sampler(ratio: 1))

    @Test func nothingIsRecordedWhileTracingIsOff() {
        withTracing(nil) {
            #expect(Trace.root("read") == nil)
            Trace.with(recorder.startRoot("read")) {
                #expect(Trace.current == nil)
                Trace.span("fetch") { #expect($0 == nil) }
            }
        }
        #expect(recorder.waiting == 0)
    }

    @Test func workIsASpanOfWhatTheThreadDoes() throws {
        try withTracing(recorder) {
            let root = try #require(Trace.root("read", .server))
            Trace.with(root) {
                Trace.span("fetch") { fetch in
                    Trace.span("request", .client) { request in
                        #expect(Trace.current === request)
                        #expect(request?.context.traceID == root.context.traceID)
                    }
                    #expect(Trace.current === fetch)
                }
                Trace.with(nil) { Trace.span("nobody's") { #expect($0 == nil) } }
            }
            #expect(Trace.current == nil)
            root.end()
            let spans = recorder.take(root.context.traceID)
            #expect(spans.map(\.name) == ["request", "fetch", "read"])
            #expect(spans[0].parent == spans[1].context.spanID)
            #expect(spans[1].parent == spans[2].context.spanID)
            #expect(spans[2].parent == nil)
        }
    }

    @Test func whatIsThrownIsTold() throws {
        try withTracing(recorder) {
            let root = try #require(Trace.root("read"))
            #expect(throws: Errno.noSpace) {
                try Trace.with(root) { try Trace.span("write") { _ in throw Errno.noSpace } }
            }
            #expect(recorder.take(root.context.traceID).map(\.outcome) == [.failed("\(Errno.noSpace)")])
        }
    }

    @Test func otherThreadsHaveSpansOfTheirOwn() throws {
        try withTracing(recorder) {
            let root = try #require(Trace.root("read"))
            try Trace.with(root) {
                try inParallel(4) { _ in
                    #expect(Trace.current == nil)
                    Trace.with(root) { Trace.span("fetch") { _ in } }
                    #expect(Trace.current == nil)
                }
            }
            #expect(
                recorder.take(root.context.traceID).filter { $0.parent == root.context.spanID }.count == 4)
        }
    }

    @Test func partsThatAreDoneBitByBitAreSpansOfTheirLengthInAll() throws {
        let root = recorder.startRoot("fetch")
        root.spend(300, on: "write")
        root.spend(200, on: "write")
        #expect(root.spent(on: "write") == 500)
        #expect(root.spent(on: "verification") == 0)
        usleep(1000)
        root.addPart("write", nanoseconds: root.spent(on: "write"))
        root.addPart("verification", nanoseconds: .max)
        root.end()
        let spans = recorder.take(root.context.traceID)
        #expect(spans.map(\.name) == ["write", "verification", "fetch"])
        #expect(spans[0].end - spans[0].start == 500)
        // Never longer than what it is a part of.
        #expect(spans[1].start == spans[2].start)
        #expect(spans.allSatisfy { $0.parent == nil || $0.parent == root.context.spanID })
    }
}
