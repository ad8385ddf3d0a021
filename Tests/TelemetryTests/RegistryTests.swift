import KamlTestSupport
import System
import Testing

@testable import Telemetry

struct RegistryTests {
    let registry = MetricsRegistry()

    @Test func everySetOfLabelsOfACounterIsShownFromTheStart() {
        _ = registry.counter(MetricCatalogue.fetchRequests)
        for tier in ["peer", "store"] {
            #expect(sample(registry.text(), "kaml_fetch_requests_total", ["tier": tier]) == "0")
        }
    }

    @Test func theSameInstrumentIsGivenToAllThatAsk() {
        registry.counter(MetricCatalogue.readBytes).add(5, .store)
        registry.counter(MetricCatalogue.readBytes).add(7, .store)
        #expect(sample(registry.text(), "kaml_read_bytes_total", ["tier": "store"]) == "12")
    }

    @Test func noAdditionOfManyThreadsIsLost() throws {
        let counter = registry.counter(MetricCatalogue.fuseErrors)
        let histogram = registry.histogram(MetricCatalogue.readDurationSeconds)
        try inParallel(8) { thread in
            for round in 0..<10_000 {
                counter.add()
                histogram.record(UInt64(round * thread), .container)
            }
        }
        #expect(counter.value == 80_000)
        #expect(histogram.count(.container) == 80_000)
    }

    @Test func twoLabelsMakeEveryPair() {
        registry.counter(MetricCatalogue.storeRequests).add(3, LabelPair(.put, .throttled))
        let text = registry.text()
        #expect(
            sample(text, "kaml_store_requests_total", ["operation": "put", "outcome": "throttled"]) == "3")
        let all = samples(text).filter { $0?.name == "kaml_store_requests_total" }
        #expect(all.count == OperationLabel.count * OutcomeLabel.count)
    }

    @Test func whatSeveralCollectorsSayIsSummed() {
        for _ in 0..<1000 {
            registry.collect { $0.add(MetricCatalogue.fuseRequests, .read, 2) }
        }
        let text = registry.text()
        #expect(sample(text, "kaml_fuse_requests_total", ["opcode": "read"]) == "2000")
        #expect(samples(text).filter { $0?.name == "kaml_fuse_requests_total" }.count == OpcodeLabel.count)
    }

    @Test func theLargestOfSeveralWorstCasesIsShown() {
        for age in [3, 9, 5] {
            registry.collect {
                $0.raise(MetricCatalogue.fuseOldestRequestSeconds, to: age * 1_000_000_000)
            }
        }
        #expect(sample(registry.text(), "kaml_fuse_oldest_request_seconds") == "9")
    }

    @Test func countersOfACollectorThatWentStayAndItsGaugesGo() {
        let registration = registry.collect { collection in
            collection.add(MetricCatalogue.fuseErrors, 7)
            collection.add(MetricCatalogue.mounts, 1)
        }
        registration.retire()
        registration.retire()
        registry.collect { $0.add(MetricCatalogue.fuseErrors, 1) }
        let text = registry.text()
        #expect(sample(text, "kaml_fuse_errors_total") == "8")
        #expect(sample(text, "kaml_mounts") == nil)
    }

    @Test func bucketsAreCumulatedAndHoldTheirBounds() {
        let histogram = registry.histogram(MetricCatalogue.fetchDurationSeconds)
        for duration: UInt64 in [0, 5_000, 5_001, 1_000_000_000, 50_000_000_000, 50_000_000_001, .max >> 1] {
            histogram.record(duration, .store)
        }
        let text = registry.text()
        func bucket(_ end: String) -> String? {
            sample(text, "kaml_fetch_duration_seconds_bucket", ["tier": "store", "le": end])
        }
        #expect(bucket("0.000005") == "2")
        #expect(bucket("0.00001") == "3")
        #expect(bucket("0.5") == "3")
        #expect(bucket("1.0") == "4")
        #expect(bucket("50.0") == "5")
        #expect(bucket("+Inf") == "7")
        #expect(sample(text, "kaml_fetch_duration_seconds_count", ["tier": "store"]) == "7")
    }

    @Test func everyDurationFallsIntoTheFirstBucketThatHoldsIt() {
        let seed = SeededRandom.explorationSeed()
        var random = SplitMix64(seed: seed)
        let table = DurationBuckets.table
        for _ in 0..<20_000 {
            let duration = random.next() >> (random.next() % 64)
            let wanted = DurationBuckets.bounds.firstIndex { duration <= $0 } ?? DurationBuckets.bounds.count
            #expect(DurationBuckets.bucket(duration, table) == wanted, "seed \(seed), \(duration)")
        }
    }

    @Test func aThousandNamesMakeNoMoreThanTheCapAndTheRestIsSummed() {
        registry.collect { collection in
            for number in 0..<1000 {
                collection.add(MetricCatalogue.mountReadBytes, ["dataset-\(number)"], 10)
            }
        }
        let text = registry.text()
        let shown = samples(text).compactMap { $0 }.filter { $0.name == "kaml_mount_read_bytes_total" }
        #expect(shown.count == 201)
        #expect(sample(text, "kaml_mount_read_bytes_total", ["dataset": "other"]) == "8000")
        // Each keeps its place, as a counter must not move to another series.
        #expect(registry.text().contains("dataset=\"dataset-0\"} 10\n"))
        #expect(sample(registry.text(), "kaml_metrics_dropped_total", ["reason": "label_cap"]) == "2400")
    }

    @Test func aGaugesPlaceIsFreeAgainWhenItsValueIsGone() {
        for generation in 0..<3 {
            let registration = registry.collect { collection in
                for number in 0..<200 {
                    collection.add(MetricCatalogue.mountInfo, ["\(generation)-\(number)", "s", "small"], 1)
                }
            }
            #expect(!registry.text().contains("dataset=\"other\""))
            registration.retire()
            _ = registry.text()
        }
    }

    @Test func theProcessTellsOfItself() throws {
        ProcessMetrics.register(in: registry)
        let text = registry.text()
        for name in [
            "process_cpu_seconds_total", "process_resident_memory_bytes", "process_virtual_memory_bytes",
            "process_open_fds", "process_max_fds", "process_threads", "process_start_time_seconds",
            "kaml_process_anonymous_memory_bytes",
        ] {
            let value = try #require(sample(text, name).flatMap { Double($0) }, "\(name)")
            #expect(value > 0, "\(name)")
        }
        let start = try #require(sample(text, "process_start_time_seconds").flatMap { Double($0) })
        let now = Double(HostClock().now().seconds)
        #expect(start > now - 86_400 && start < now + 2)
    }

    @Test func athousandMountsAreScrapedWithinTheirFigure() {
        _ = registry.histogram(MetricCatalogue.readDurationSeconds)
        _ = registry.histogram(MetricCatalogue.fetchDurationSeconds)
        for mount in 0..<1000 {
            registry.collect { collection in
                for opcode in OpcodeLabel.allCases { collection.add(MetricCatalogue.fuseRequests, opcode, 1) }
                collection.add(MetricCatalogue.mountInfo, ["dataset-\(mount)", "0123456789ab", "small"], 1)
                collection.add(MetricCatalogue.mountReadBytes, ["dataset-\(mount)"], 1)
                collection.add(MetricCatalogue.mounts, 1)
            }
        }
        _ = registry.text()
        let start = HostClock().monotonicNanoseconds()
        let bytes = registry.exposition(.openMetrics)
        let duration = HostClock().monotonicNanoseconds() - start
        #expect(bytes.count < 1 << 20)
        // The figure is 50 ms of an optimised build; this one is not.
        #expect(duration < 1_000_000_000)
    }
}
