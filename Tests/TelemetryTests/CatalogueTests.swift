import Glibc
import System
import Testing

@testable import Telemetry

struct CatalogueTests {
    /// The repository's root, from this file's place in it.
    static let root = #filePath.split(separator: "/").dropLast(3).reduce("") { $0 + "/" + $1 }

    /// The declarations and, where the README has its table, the table are what `make metrics` would write now.
    @Test func codeAndReadmeAreWhatTheCatalogueSays() throws {
        var process = pid_t()
        let path = Self.root + "/.ci/metrics.py"
        let arguments = [strdup(path), strdup("--check"), nil]
        defer { for argument in arguments { free(argument) } }
        #expect(posix_spawn(&process, path, nil, nil, arguments, environ) == 0)
        var status: Int32 = 0
        #expect(waitpid(process, &status, 0) == process)
        #expect(status == 0, "run `make metrics`, and commit what it changes")
    }

    @Test func metricsAreWhereTheyThinkTheyAre() {
        for (index, descriptor) in MetricCatalogue.all.enumerated() { #expect(descriptor.index == index) }
        #expect(Set(MetricCatalogue.all.map(\.name)).count == MetricCatalogue.all.count)
    }

    @Test func noMetricCanMakeSeriesWithoutEnd() {
        for descriptor in MetricCatalogue.all {
            let isCapped = descriptor.cap != nil
            #expect(descriptor.labels.allSatisfy { $0.values.isEmpty == isCapped }, "\(descriptor.name)")
            #expect((descriptor.cap ?? descriptor.seriesCount) <= 200, "\(descriptor.name)")
        }
        let most = MetricCatalogue.all.reduce(0) { sum, descriptor in
            let series = descriptor.cap ?? descriptor.seriesCount
            return sum + series * (descriptor.kind == .histogram ? DurationBuckets.count + 2 : 1)
        }
        #expect(most < 2000)
    }
}
