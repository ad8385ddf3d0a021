import Testing

@testable import Telemetry

struct SpanContextTests {
    @Test func traceparentIsReadAndWrittenAsTheSpecificationShowsIt() throws {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        let context = try #require(SpanContext(traceparent: text))
        #expect("\(context.traceID)" == "4bf92f3577b34da6a3ce929d0e0e4736")
        #expect("\(context.spanID)" == "00f067aa0ba902b7")
        #expect(context.isSampled)
        #expect(context.traceparent == text)
        #expect(context.traceID.bytes.first == 0x4b && context.spanID.bytes.last == 0xb7)
    }

    @Test func unknownFlagsAreIgnored() throws {
        let context = try #require(
            SpanContext(traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-fe"))
        #expect(!context.isSampled)
    }

    @Test func laterVersionsAreReadByTheirBeginning() {
        let text = "-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        #expect(SpanContext(traceparent: "cc\(text)") != nil)
        #expect(SpanContext(traceparent: "cc\(text)-what-the-future-brings") != nil)
        #expect(SpanContext(traceparent: "cc\(text)what") == nil)
        #expect(SpanContext(traceparent: "ff\(text)") == nil)
    }

    @Test(arguments: [
        "", "00", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        "00-4bf92f3577b34da6a3ce929d0e0e473600f067aa0ba902b7---01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
        "00 4bf92f3577b34da6a3ce929d0e0e4736 00f067aa0ba902b7 01",
        "00-4bf92f3577b34da6a3ce929d0e0e473é-00f067aa0ba902b7-01",
    ])
    func whatIsWrongInAnyLetterIsNoTraceparent(text: String) {
        #expect(SpanContext(traceparent: text) == nil)
    }

    @Test func anEndlessFieldIsRefused() {
        let text = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-"
        #expect(SpanContext(traceparent: text + String(repeating: "x", count: 1_000_000)) == nil)
    }
}
