/// How a cache behaves; the defaults suit a node with a local disk.
package struct CacheOptions: Sendable {
    /// Fetches that may run on the threads of those who ask at one time: a cold read then costs no
    /// thread hop. Further ones go to the fetch threads. 0 sends all of them there.
    package var inlineFetches = 2
    /// The most threads that fetch what does not fit inline, at least 1. They are started when they are needed and end
    /// when they are not. How many requests really run at once is the store's client's to decide.
    package var fetchThreads = 32
    /// Bytes that fetches together may hold in memory, by what each is charged before it runs. One that is charged more
    /// runs alone. Chunks found damaged on the node's disk are fetched beside it, one at a time for each reader.
    package var maximumInFlightBytes = 64 << 20
    /// Bytes that came a moment ago and may wait in memory for their readers, beside those in flight.
    package var recentBytes = 80 << 20
    /// Whether containers are written past the page cache, as far as what is written waits in memory for its readers.
    package var writesDirectly = true
    /// Largest ranged read of a store object for a reader, in bytes. Eight chunks of 1 MiB with their headers fit.
    package var maximumRangeBytes = (8 << 20) + 4096
    /// Packs of at most this many stored bytes are read whole, with their footer, at the first miss.
    package var smallPackBytes = 1 << 20
    /// What the cache may take of its disk and of the process.
    package var limits = CacheLimits()
    /// Bytes a second that are hashed again in the background, to find rot; 0 for none.
    package var scrubBytesPerSecond = 0
    /// The node's keys, for a cache that is encrypted on its disk; nil for one in the clear.
    package var keys: CacheKeys?
    /// How far readers are read ahead of.
    var readahead = ReadaheadRuns.Limits()
    /// Stored bytes nobody asked for that a range may take in to save a request.
    package var gapTolerance = 64 << 10
    /// Drops what earlier runs vouched for: each chunk found on disk is hashed again before its first use.
    package var distrust = false
    /// Where the kernel's boot id is read; nil takes /proc/sys/kernel/random/boot_id. A seam for tests.
    package var bootID: [UInt8]?
    /// Nanoseconds between two updates of the statistics file while the cache works.
    package var statisticsInterval: UInt64 = 3_000_000_000

    package init() {}
}
