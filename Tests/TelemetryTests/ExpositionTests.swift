import KamlTestSupport
import System
import Testing

@testable import Telemetry

struct ExpositionTests {
    let registry = MetricsRegistry()

    @Test func theOlderFormatLooksAsPrometheusDescribesIt() {
        registry.counter(MetricCatalogue.fuseErrors).add(3)
        let text = registry.text(.prometheusText)
        #expect(
            text.contains(
                """
                # HELP kaml_fuse_errors_total Replies that carried an errno, those that only say that a name is missing \
                among them.
                # TYPE kaml_fuse_errors_total counter
                kaml_fuse_errors_total 3

                """))
        #expect(!text.contains("# EOF") && !text.contains("# UNIT"))
    }

    @Test func openMetricsNamesFamiliesAndUnitsAndEnds() {
        registry.counter(MetricCatalogue.readBytes).add(9, .peer)
        registry.collect { $0.add(MetricCatalogue.agentBuildInfo, ["0.4.0", "abc"], 1) }
        let text = registry.text(.openMetrics)
        #expect(text.contains("# TYPE kaml_read_bytes counter\n# UNIT kaml_read_bytes bytes\n"))
        #expect(text.contains("\nkaml_read_bytes_total{tier=\"peer\"} 9\n"))
        #expect(text.contains("# TYPE kaml_agent_build info\n"))
        #expect(text.contains("\nkaml_agent_build_info{version=\"0.4.0\",commit=\"abc\"} 1\n"))
        #expect(text.hasSuffix("\n# EOF\n"))
        #expect(!text.contains("_created"))
    }

    @Test func onlyOpenMetricsCarriesExemplars() throws {
        let histogram = registry.histogram(MetricCatalogue.readDurationSeconds)
        let trace = try #require(TraceID(high: 1, low: 2))
        histogram.record(30_000_000, .store, trace: trace, at: Timestamp(seconds: 1700, nanoseconds: 5_000_000))
        let line =
            "kaml_read_duration_seconds_bucket{tier=\"store\",le=\"0.05\"} 1"
            + " # {trace_id=\"00000000000000010000000000000002\"} 0.03 1700.005\n"
        #expect(registry.text(.openMetrics).contains(line))
        #expect(!registry.text(.prometheusText).contains("trace_id"))
    }

    @Test(arguments: [
        (nil, false), ("", false), ("*/*", false), ("text/plain;version=0.0.4", false),
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", true),
        (
            "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            true
        ),
        ("text/plain, APPLICATION/OPENMETRICS-TEXT", true), ("application/openmetrics-text;q=0", false),
        (String(repeating: ";,", count: 10_000), false),
    ])
    func theFormatIsTheOneThatTheClientAsksFor(accept: String?, isOpenMetrics: Bool) {
        let wanted: ExpositionFormat = isOpenMetrics ? .openMetrics : .prometheusText
        #expect(ExpositionFormat(accept: accept) == wanted)
    }

    @Test(arguments: [
        "a\"} 1\nkaml_fuse_errors_total 99\n#", "\\", "\\\"", "line\nend", "\r\n", "\u{0}", "日本語",
        "\u{1F600}", "{}=,", "",
    ])
    func aNameCannotSayMoreThanItself(name: String) {
        registry.collect { $0.add(MetricCatalogue.mountReadBytes, [name], 1) }
        for format in [ExpositionFormat.prometheusText, .openMetrics] {
            let read = samples(registry.text(format))
            #expect(!read.contains(nil))
            #expect(read.compactMap { $0 }.contains { $0.labels == ["dataset": name] && $0.value == "1" })
            #expect(!read.compactMap { $0 }.contains { $0.name == "kaml_fuse_errors_total" })
        }
    }

    @Test func anyTextComesBackAsItWas() {
        let seed = SeededRandom.explorationSeed()
        var random = SplitMix64(seed: seed)
        var names: Set<String> = []
        for _ in 0..<150 {
            let scalars = (0..<Int.random(in: 0...20, using: &random)).map { _ in
                Unicode.Scalar(UInt32.random(in: 0...0x2FF, using: &random)) ?? "x"
            }
            // Characters are compared by their scalars: the format knows no canonical equivalence.
            let name = String(String.UnicodeScalarView(scalars))
            if !names.contains(name) { names.insert(name) }
        }
        registry.collect { [names] collection in
            for name in names { collection.add(MetricCatalogue.mountReadBytes, [name], 1) }
        }
        let read = samples(registry.text()).compactMap { $0 }.filter {
            $0.name == "kaml_mount_read_bytes_total"
        }
        #expect(Set(read.compactMap { $0.labels["dataset"] }) == names, "seed \(seed)")
    }

    @Test func aLongNameIsCutBetweenCharacters() {
        registry.collect {
            $0.add(MetricCatalogue.mountReadBytes, ["x" + String(repeating: "é", count: 5000)], 1)
        }
        let read = samples(registry.text()).compactMap { $0?.labels["dataset"] }
        #expect(read == ["x" + String(repeating: "é", count: 63)])
    }

    @Test func numbersAreWrittenExactly() {
        #expect(ExpositionWriter.number(.nan) == "NaN")
        #expect(ExpositionWriter.number(.infinity) == "+Inf")
        #expect(ExpositionWriter.number(-.infinity) == "-Inf")
        #expect(ExpositionWriter.number(9_007_199_254_740_991) == "9007199254740991")
        #expect(ExpositionWriter.number(0.25) == "0.25")
        #expect(ExpositionWriter.seconds(0) == "0.0")
        #expect(ExpositionWriter.seconds(1) == "0.000000001")
        #expect(ExpositionWriter.seconds(.max) == "18446744073.709551615")
    }

    @Test func everyFamilyHasOneHeadAndItsSamplesTogether() {
        ProcessMetrics.register(in: registry)
        _ = registry.histogram(MetricCatalogue.readDurationSeconds)
        _ = registry.counter(MetricCatalogue.storeRequests)
        let names = registry.text().split(separator: "\n").filter { $0.hasPrefix("# TYPE ") }.map {
            String($0.split(separator: " ")[2])
        }
        #expect(Set(names).count == names.count)
        #expect(names == names.sorted())
    }
}
