// Made by `make metrics` from metrics.yaml; not to be edited.

package enum OpcodeLabel: Int, CaseIterable, MetricLabel {
    case lookup, getattr, readlink, open, read, release, getxattr, opendir, readdir, other
    package static let descriptor = LabelDescriptor(
        "opcode",
        [
            "lookup", "getattr", "readlink", "open", "read", "release", "getxattr", "opendir", "readdir",
            "other",
        ])
}

package enum TierLabel: Int, CaseIterable, MetricLabel {
    case container, peer, store
    package static let descriptor = LabelDescriptor("tier", ["container", "peer", "store"])
}

package enum FetchedFromLabel: Int, CaseIterable, MetricLabel {
    case peer, store
    package static let descriptor = LabelDescriptor("tier", ["peer", "store"])
}

package enum OperationLabel: Int, CaseIterable, MetricLabel {
    case get, head, put, post, delete
    package static let descriptor = LabelDescriptor("operation", ["get", "head", "put", "post", "delete"])
}

package enum OutcomeLabel: Int, CaseIterable, MetricLabel {
    case success, notFound, refused, throttled, timeout, connection, malformed, cancelled, other
    package static let descriptor = LabelDescriptor(
        "outcome",
        [
            "success", "not_found", "refused", "throttled", "timeout", "connection", "malformed", "cancelled",
            "other",
        ])
}

package enum ReadFailureLabel: Int, CaseIterable, MetricLabel {
    case damaged, store, disk, other
    package static let descriptor = LabelDescriptor("reason", ["damaged", "store", "disk", "other"])
}

package enum TakeoverOutcomeLabel: Int, CaseIterable, MetricLabel {
    case resumed, failed
    package static let descriptor = LabelDescriptor("outcome", ["resumed", "failed"])
}

package enum SpanDropLabel: Int, CaseIterable, MetricLabel {
    case queueFull, refused, unreachable, tooLarge
    package static let descriptor = LabelDescriptor(
        "reason", ["queue_full", "refused", "unreachable", "too_large"])
}

package enum ExportOutcomeLabel: Int, CaseIterable, MetricLabel {
    case success, partial, refused, failed
    package static let descriptor = LabelDescriptor("outcome", ["success", "partial", "refused", "failed"])
}

package enum LogLevelLabel: Int, CaseIterable, MetricLabel {
    case trace, debug, info, notice, warning, error, critical
    package static let descriptor = LabelDescriptor(
        "level", ["trace", "debug", "info", "notice", "warning", "error", "critical"])
}

package enum LogDropLabel: Int, CaseIterable, MetricLabel {
    case repeated, tooLong, unwritable
    package static let descriptor = LabelDescriptor("reason", ["repeated", "too_long", "unwritable"])
}

package enum MetricDropLabel: Int, CaseIterable, MetricLabel {
    case notInCatalogue, labelCap
    package static let descriptor = LabelDescriptor("reason", ["not_in_catalogue", "label_cap"])
}

package enum FaultLabel: Int, CaseIterable, MetricLabel {
    case directory, refused, slow
    package static let descriptor = LabelDescriptor("fault", ["directory", "refused", "slow"])
}

package enum FeedPlaneLabel: Int, CaseIterable, MetricLabel {
    case mapped, slots
    package static let descriptor = LabelDescriptor("plane", ["mapped", "slots"])
}

package enum FeedSideLabel: Int, CaseIterable, MetricLabel {
    case pod, agent
    package static let descriptor = LabelDescriptor("side", ["pod", "agent"])
}

package enum FeedCauseLabel: Int, CaseIterable, MetricLabel {
    case credits, memory, bytes
    package static let descriptor = LabelDescriptor("cause", ["credits", "memory", "bytes"])
}

package enum FeedEndLabel: Int, CaseIterable, MetricLabel {
    case closed, misuse, quota
    package static let descriptor = LabelDescriptor("reason", ["closed", "misuse", "quota"])
}

/// Every metric there is.
package enum MetricCatalogue {
    /// Requests that the kernel sent. Reads of cached pages and of passthrough files send none.
    package static let fuseRequests = CounterMetric<OpcodeLabel>(all[0])
    /// Replies that carried an errno, those that only say that a name is missing among them.
    package static let fuseErrors = CounterMetric<NoLabels>(all[1])
    /// Opens after which the kernel reads the container itself. Stands in for reads that the agent cannot see.
    package static let fusePassthroughOpens = CounterMetric<NoLabels>(all[2])
    /// Requests that are received and not yet answered.
    package static let fuseRequestsInFlight = GaugeMetric<NoLabels>(all[3])
    /// Age of the oldest request that is not yet answered, 0 when there is none.
    package static let fuseOldestRequestSeconds = GaugeMetric<NoLabels>(all[4])
    /// Bytes of file content that went through the agent, by the slowest tier that a byte of the read came from.
    package static let readBytes = CounterMetric<TierLabel>(all[5])
    /// From the receipt of a read to its reply, by the slowest tier that a byte of it came from.
    package static let readDurationSeconds = HistogramMetric<TierLabel>(all[6])
    /// Reads that were answered with an error.
    package static let readFailures = CounterMetric<ReadFailureLabel>(all[7])
    /// Ranged reads of packs.
    package static let fetchRequests = CounterMetric<FetchedFromLabel>(all[8])
    /// Stored bytes of packs that were fetched, footers among them.
    package static let fetchBytes = CounterMetric<FetchedFromLabel>(all[9])
    /// From the start of a ranged read to its first byte.
    package static let fetchFirstByteSeconds = HistogramMetric<FetchedFromLabel>(all[10])
    /// From the start of a ranged read to its last byte, verified and written.
    package static let fetchDurationSeconds = HistogramMetric<FetchedFromLabel>(all[11])
    /// Stored bytes of manifests that were fetched.
    package static let fetchManifestBytes = CounterMetric<NoLabels>(all[12])
    /// Real blocks of all files of the cache.
    package static let cacheUsedBytes = GaugeMetric<NoLabels>(all[13])
    /// Containers of the cache.
    package static let cacheContainers = GaugeMetric<NoLabels>(all[14])
    /// Containers whose files are open and mapped.
    package static let cacheOpenContainers = GaugeMetric<NoLabels>(all[15])
    /// Files and directories of the cache.
    package static let cacheInodes = GaugeMetric<NoLabels>(all[16])
    /// Bytes that pins and leases keep from eviction.
    package static let cachePinnedBytes = GaugeMetric<NoLabels>(all[17])
    /// Real blocks that the cache may use now: the limit, or what its disk has left.
    package static let cacheLimitBytes = GaugeMetric<NoLabels>(all[18])
    /// Files and directories that the cache may have.
    package static let cacheLimitInodes = GaugeMetric<NoLabels>(all[19])
    /// Plain bytes that were verified and written into containers.
    package static let cacheFilledBytes = CounterMetric<NoLabels>(all[20])
    /// Chunks whose hash was right when they arrived.
    package static let cacheVerifiedChunks = CounterMetric<NoLabels>(all[21])
    /// Chunks whose hash was wrong when they arrived; none of them reached a reader.
    package static let cacheVerificationFailures = CounterMetric<NoLabels>(all[22])
    /// Chunks on disk that were hashed again.
    package static let cacheRecheckedChunks = CounterMetric<NoLabels>(all[23])
    /// Chunks on disk whose hash was wrong; they were fetched anew.
    package static let cacheRejectedChunks = CounterMetric<NoLabels>(all[24])
    /// Bytes that the background scrubber hashed again.
    package static let cacheScrubbedBytes = CounterMetric<NoLabels>(all[25])
    /// Chunks that were answered from memory because the cache's disk did not take them.
    package static let cacheReadThroughChunks = CounterMetric<NoLabels>(all[26])
    /// 1 while reads go through: the directory is gone, its disk refuses writes (full, failing, read-only), or is slow.
    package static let cacheDiskFault = GaugeMetric<FaultLabel>(all[27])
    /// Containers that were removed.
    package static let cacheEvictions = CounterMetric<NoLabels>(all[28])
    /// Real blocks of the containers that were removed.
    package static let cacheEvictedBytes = CounterMetric<NoLabels>(all[29])
    /// Blocks that would be there too if no two datasets of the node shared containers.
    package static let cacheDedupSavedBytes = GaugeMetric<NoLabels>(all[30])
    /// Requests that were sent to stores, each attempt counted.
    package static let storeRequests = CounterMetric<LabelPair<OperationLabel, OutcomeLabel>>(all[31])
    /// From a request to the end of its answer, each attempt by itself.
    package static let storeRequestDurationSeconds = HistogramMetric<OperationLabel>(all[32])
    /// From a request to the head of its answer.
    package static let storeFirstByteSeconds = HistogramMetric<OperationLabel>(all[33])
    /// Bytes of answers' bodies.
    package static let storeReceivedBytes = CounterMetric<NoLabels>(all[34])
    /// Attempts after a failed one.
    package static let storeRetries = CounterMetric<NoLabels>(all[35])
    /// Attempts that went on in the middle of an answer.
    package static let storeResumes = CounterMetric<NoLabels>(all[36])
    /// Second requests because an answer was late.
    package static let storeHedges = CounterMetric<NoLabels>(all[37])
    /// Second requests that were faster than the first.
    package static let storeHedgeWins = CounterMetric<NoLabels>(all[38])
    /// Answers that asked to slow down.
    package static let storeThrottles = CounterMetric<NoLabels>(all[39])
    /// Requests that failed for good, after all their attempts.
    package static let storeFailures = CounterMetric<NoLabels>(all[40])
    /// Mounts that are served.
    package static let mounts = GaugeMetric<NoLabels>(all[41])
    /// Mounts whose oldest request is older than 30 seconds.
    package static let mountHung = GaugeMetric<NoLabels>(all[42])
    /// What is mounted; under "other" the number of mounts beyond the first 200.
    package static let mountInfo = CappedGaugeMetric(all[43])
    /// Bytes of file content that went through the agent, by dataset.
    package static let mountReadBytes = CappedCounterMetric(all[44])
    /// Kernel connections that were taken over from an earlier process.
    package static let agentTakeovers = CounterMetric<TakeoverOutcomeLabel>(all[45])
    /// From the start of the process to the first reply over a connection that was taken over.
    package static let agentTakeoverSeconds = HistogramMetric<NoLabels>(all[46])
    /// 1 when the agent can serve a mount.
    package static let agentReady = GaugeMetric<NoLabels>(all[47])
    /// The build that runs.
    package static let agentBuildInfo = CappedGaugeMetric(all[48])
    /// Requests to the agent's own HTTP endpoint.
    package static let agentHttpRequestDurationSeconds = HistogramMetric<NoLabels>(all[49])
    /// Requests to the agent's own HTTP endpoint that are not yet answered.
    package static let agentHttpRequestsInFlight = GaugeMetric<NoLabels>(all[50])
    /// Requests to the agent's own HTTP endpoint that failed.
    package static let agentHttpErrors = CounterMetric<NoLabels>(all[51])
    /// Pods that are connected.
    package static let feedSessions = GaugeMetric<NoLabels>(all[52])
    /// Sessions that ended: closed by the pod or the agent, ended for misuse, or refused over a quota.
    package static let feedSessionsEnded = CounterMetric<FeedEndLabel>(all[53])
    /// Streams that are open.
    package static let feedStreams = GaugeMetric<NoLabels>(all[54])
    /// Batches that were given out.
    package static let feedBatches = CounterMetric<NoLabels>(all[55])
    /// Records in them.
    package static let feedRecords = CounterMetric<NoLabels>(all[56])
    /// Bytes of their values: lent in the cache (plane M), or in the session's slots (plane S).
    package static let feedBytes = CounterMetric<FeedPlaneLabel>(all[57])
    /// Bytes that the agent copied to make batches.
    package static let feedCopiedBytes = CounterMetric<NoLabels>(all[58])
    /// Batches that could not be made.
    package static let feedBatchFailures = CounterMetric<NoLabels>(all[59])
    /// From the begin of a batch's reads until it was given out.
    package static let feedBatchDurationSeconds = HistogramMetric<NoLabels>(all[60])
    /// From a batch's handing out to its release, as the pods tell.
    package static let feedBatchUseSeconds = HistogramMetric<NoLabels>(all[61])
    /// Time that streams stood still: for a pod that had all its credits or memory, or pods for the agent's bytes, as they tell.
    package static let feedStallSeconds = CounterMetric<LabelPair<FeedSideLabel, FeedCauseLabel>>(all[62])
    /// Batches that pods have and did not give back.
    package static let feedBatchesOut = GaugeMetric<NoLabels>(all[63])
    /// Batches that may be given out before one has to come back.
    package static let feedCredits = GaugeMetric<NoLabels>(all[64])
    /// Shared memory that batches lie in.
    package static let feedSlabBytes = GaugeMetric<NoLabels>(all[65])
    /// Containers of the cache that pods may have mapped, each counted for each stream.
    package static let feedLentBytes = GaugeMetric<NoLabels>(all[66])
    /// Spans that were queued for export.
    package static let traceSpans = CounterMetric<NoLabels>(all[67])
    /// Spans that a collector took.
    package static let traceSpansExported = CounterMetric<NoLabels>(all[68])
    /// Spans that no collector got.
    package static let traceSpansDropped = CounterMetric<SpanDropLabel>(all[69])
    /// Requests to the collector.
    package static let traceExports = CounterMetric<ExportOutcomeLabel>(all[70])
    /// Spans that wait for export.
    package static let traceQueuedSpans = GaugeMetric<NoLabels>(all[71])
    /// Lines that were logged.
    package static let logMessages = CounterMetric<LogLevelLabel>(all[72])
    /// Lines that were left out as repetitions, shortened, or could not be written.
    package static let logDropped = CounterMetric<LogDropLabel>(all[73])
    /// Metrics of libraries that the catalogue does not list, and sets of labels beyond a metric's cap.
    package static let metricsDropped = CounterMetric<MetricDropLabel>(all[74])
    /// What putting together the scrape before this one took.
    package static let metricsScrapeSeconds = GaugeMetric<NoLabels>(all[75])
    /// Processor time, user and system.
    package static let processCpuSeconds = CounterMetric<NoLabels>(all[76])
    /// Resident memory, mapped pages of the cache among it.
    package static let processResidentMemoryBytes = GaugeMetric<NoLabels>(all[77])
    /// Virtual memory.
    package static let processVirtualMemoryBytes = GaugeMetric<NoLabels>(all[78])
    /// Open file descriptors.
    package static let processOpenFds = GaugeMetric<NoLabels>(all[79])
    /// The limit of open file descriptors.
    package static let processMaxFds = GaugeMetric<NoLabels>(all[80])
    /// Threads.
    package static let processThreads = GaugeMetric<NoLabels>(all[81])
    /// Start of the process, in seconds since 1970.
    package static let processStartTimeSeconds = GaugeMetric<NoLabels>(all[82])
    /// Resident memory that no file backs: what the agent itself takes.
    package static let processAnonymousMemoryBytes = GaugeMetric<NoLabels>(all[83])

    package static let all: [MetricDescriptor] = [
        MetricDescriptor(
            0, "kaml_fuse_requests_total", .counter, .none, [OpcodeLabel.descriptor],
            help: "Requests that the kernel sent. Reads of cached pages and of passthrough files send none."),
        MetricDescriptor(
            1, "kaml_fuse_errors_total", .counter, .none, [],
            help: "Replies that carried an errno, those that only say that a name is missing among them."),
        MetricDescriptor(
            2, "kaml_fuse_passthrough_opens_total", .counter, .none, [],
            help:
                "Opens after which the kernel reads the container itself. Stands in for reads that the agent cannot see."
        ),
        MetricDescriptor(
            3, "kaml_fuse_requests_in_flight", .gauge, .none, [],
            help: "Requests that are received and not yet answered."),
        MetricDescriptor(
            4, "kaml_fuse_oldest_request_seconds", .gauge, .seconds, [],
            help: "Age of the oldest request that is not yet answered, 0 when there is none."),
        MetricDescriptor(
            5, "kaml_read_bytes_total", .counter, .bytes, [TierLabel.descriptor],
            help:
                "Bytes of file content that went through the agent, by the slowest tier that a byte of the read came from."
        ),
        MetricDescriptor(
            6, "kaml_read_duration_seconds", .histogram, .seconds, [TierLabel.descriptor],
            help: "From the receipt of a read to its reply, by the slowest tier that a byte of it came from."),
        MetricDescriptor(
            7, "kaml_read_failures_total", .counter, .none, [ReadFailureLabel.descriptor],
            help: "Reads that were answered with an error."),
        MetricDescriptor(
            8, "kaml_fetch_requests_total", .counter, .none, [FetchedFromLabel.descriptor],
            help: "Ranged reads of packs."),
        MetricDescriptor(
            9, "kaml_fetch_bytes_total", .counter, .bytes, [FetchedFromLabel.descriptor],
            help: "Stored bytes of packs that were fetched, footers among them."),
        MetricDescriptor(
            10, "kaml_fetch_first_byte_seconds", .histogram, .seconds, [FetchedFromLabel.descriptor],
            help: "From the start of a ranged read to its first byte."),
        MetricDescriptor(
            11, "kaml_fetch_duration_seconds", .histogram, .seconds, [FetchedFromLabel.descriptor],
            help: "From the start of a ranged read to its last byte, verified and written."),
        MetricDescriptor(
            12, "kaml_fetch_manifest_bytes_total", .counter, .bytes, [],
            help: "Stored bytes of manifests that were fetched."),
        MetricDescriptor(
            13, "kaml_cache_used_bytes", .gauge, .bytes, [],
            help: "Real blocks of all files of the cache."),
        MetricDescriptor(
            14, "kaml_cache_containers", .gauge, .none, [],
            help: "Containers of the cache."),
        MetricDescriptor(
            15, "kaml_cache_open_containers", .gauge, .none, [],
            help: "Containers whose files are open and mapped."),
        MetricDescriptor(
            16, "kaml_cache_inodes", .gauge, .none, [],
            help: "Files and directories of the cache."),
        MetricDescriptor(
            17, "kaml_cache_pinned_bytes", .gauge, .bytes, [],
            help: "Bytes that pins and leases keep from eviction."),
        MetricDescriptor(
            18, "kaml_cache_limit_bytes", .gauge, .bytes, [],
            help: "Real blocks that the cache may use now: the limit, or what its disk has left."),
        MetricDescriptor(
            19, "kaml_cache_limit_inodes", .gauge, .none, [],
            help: "Files and directories that the cache may have."),
        MetricDescriptor(
            20, "kaml_cache_filled_bytes_total", .counter, .bytes, [],
            help: "Plain bytes that were verified and written into containers."),
        MetricDescriptor(
            21, "kaml_cache_verified_chunks_total", .counter, .none, [],
            help: "Chunks whose hash was right when they arrived."),
        MetricDescriptor(
            22, "kaml_cache_verification_failures_total", .counter, .none, [],
            help: "Chunks whose hash was wrong when they arrived; none of them reached a reader."),
        MetricDescriptor(
            23, "kaml_cache_rechecked_chunks_total", .counter, .none, [],
            help: "Chunks on disk that were hashed again."),
        MetricDescriptor(
            24, "kaml_cache_rejected_chunks_total", .counter, .none, [],
            help: "Chunks on disk whose hash was wrong; they were fetched anew."),
        MetricDescriptor(
            25, "kaml_cache_scrubbed_bytes_total", .counter, .bytes, [],
            help: "Bytes that the background scrubber hashed again."),
        MetricDescriptor(
            26, "kaml_cache_read_through_chunks_total", .counter, .none, [],
            help: "Chunks that were answered from memory because the cache's disk did not take them."),
        MetricDescriptor(
            27, "kaml_cache_disk_fault", .gauge, .none, [FaultLabel.descriptor],
            help:
                "1 while reads go through: the directory is gone, its disk refuses writes (full, failing, read-only), or is slow."
        ),
        MetricDescriptor(
            28, "kaml_cache_evictions_total", .counter, .none, [],
            help: "Containers that were removed."),
        MetricDescriptor(
            29, "kaml_cache_evicted_bytes_total", .counter, .bytes, [],
            help: "Real blocks of the containers that were removed."),
        MetricDescriptor(
            30, "kaml_cache_dedup_saved_bytes", .gauge, .bytes, [],
            help: "Blocks that would be there too if no two datasets of the node shared containers."),
        MetricDescriptor(
            31, "kaml_store_requests_total", .counter, .none,
            [OperationLabel.descriptor, OutcomeLabel.descriptor],
            help: "Requests that were sent to stores, each attempt counted."),
        MetricDescriptor(
            32, "kaml_store_request_duration_seconds", .histogram, .seconds, [OperationLabel.descriptor],
            help: "From a request to the end of its answer, each attempt by itself."),
        MetricDescriptor(
            33, "kaml_store_first_byte_seconds", .histogram, .seconds, [OperationLabel.descriptor],
            help: "From a request to the head of its answer."),
        MetricDescriptor(
            34, "kaml_store_received_bytes_total", .counter, .bytes, [],
            help: "Bytes of answers' bodies."),
        MetricDescriptor(
            35, "kaml_store_retries_total", .counter, .none, [],
            help: "Attempts after a failed one."),
        MetricDescriptor(
            36, "kaml_store_resumes_total", .counter, .none, [],
            help: "Attempts that went on in the middle of an answer."),
        MetricDescriptor(
            37, "kaml_store_hedges_total", .counter, .none, [],
            help: "Second requests because an answer was late."),
        MetricDescriptor(
            38, "kaml_store_hedge_wins_total", .counter, .none, [],
            help: "Second requests that were faster than the first."),
        MetricDescriptor(
            39, "kaml_store_throttles_total", .counter, .none, [],
            help: "Answers that asked to slow down."),
        MetricDescriptor(
            40, "kaml_store_failures_total", .counter, .none, [],
            help: "Requests that failed for good, after all their attempts."),
        MetricDescriptor(
            41, "kaml_mounts", .gauge, .none, [],
            help: "Mounts that are served."),
        MetricDescriptor(
            42, "kaml_mount_hung", .gauge, .none, [],
            help: "Mounts whose oldest request is older than 30 seconds."),
        MetricDescriptor(
            43, "kaml_mount_info", .info, .none,
            [
                LabelDescriptor("dataset", []), LabelDescriptor("snapshot", []),
                LabelDescriptor("profile", []),
            ], cap: 200,
            help: "What is mounted; under \"other\" the number of mounts beyond the first 200."),
        MetricDescriptor(
            44, "kaml_mount_read_bytes_total", .counter, .bytes, [LabelDescriptor("dataset", [])], cap: 200,
            help: "Bytes of file content that went through the agent, by dataset."),
        MetricDescriptor(
            45, "kaml_agent_takeovers_total", .counter, .none, [TakeoverOutcomeLabel.descriptor],
            help: "Kernel connections that were taken over from an earlier process."),
        MetricDescriptor(
            46, "kaml_agent_takeover_seconds", .histogram, .seconds, [],
            help: "From the start of the process to the first reply over a connection that was taken over."),
        MetricDescriptor(
            47, "kaml_agent_ready", .gauge, .none, [],
            help: "1 when the agent can serve a mount."),
        MetricDescriptor(
            48, "kaml_agent_build_info", .info, .none,
            [LabelDescriptor("version", []), LabelDescriptor("commit", [])], cap: 1,
            help: "The build that runs."),
        MetricDescriptor(
            49, "kaml_agent_http_request_duration_seconds", .histogram, .seconds, [],
            help: "Requests to the agent's own HTTP endpoint."),
        MetricDescriptor(
            50, "kaml_agent_http_requests_in_flight", .gauge, .none, [],
            help: "Requests to the agent's own HTTP endpoint that are not yet answered."),
        MetricDescriptor(
            51, "kaml_agent_http_errors_total", .counter, .none, [],
            help: "Requests to the agent's own HTTP endpoint that failed."),
        MetricDescriptor(
            52, "kaml_feed_sessions", .gauge, .none, [],
            help: "Pods that are connected."),
        MetricDescriptor(
            53, "kaml_feed_sessions_ended_total", .counter, .none, [FeedEndLabel.descriptor],
            help:
                "Sessions that ended: closed by the pod or the agent, ended for misuse, or refused over a quota."
        ),
        MetricDescriptor(
            54, "kaml_feed_streams", .gauge, .none, [],
            help: "Streams that are open."),
        MetricDescriptor(
            55, "kaml_feed_batches_total", .counter, .none, [],
            help: "Batches that were given out."),
        MetricDescriptor(
            56, "kaml_feed_records_total", .counter, .none, [],
            help: "Records in them."),
        MetricDescriptor(
            57, "kaml_feed_bytes_total", .counter, .bytes, [FeedPlaneLabel.descriptor],
            help: "Bytes of their values: lent in the cache (plane M), or in the session's slots (plane S)."),
        MetricDescriptor(
            58, "kaml_feed_copied_bytes_total", .counter, .bytes, [],
            help: "Bytes that the agent copied to make batches."),
        MetricDescriptor(
            59, "kaml_feed_batch_failures_total", .counter, .none, [],
            help: "Batches that could not be made."),
        MetricDescriptor(
            60, "kaml_feed_batch_duration_seconds", .histogram, .seconds, [],
            help: "From the begin of a batch's reads until it was given out."),
        MetricDescriptor(
            61, "kaml_feed_batch_use_seconds", .histogram, .seconds, [],
            help: "From a batch's handing out to its release, as the pods tell."),
        MetricDescriptor(
            62, "kaml_feed_stall_seconds_total", .counter, .seconds,
            [FeedSideLabel.descriptor, FeedCauseLabel.descriptor],
            help:
                "Time that streams stood still: for a pod that had all its credits or memory, or pods for the agent's bytes, as they tell."
        ),
        MetricDescriptor(
            63, "kaml_feed_batches_out", .gauge, .none, [],
            help: "Batches that pods have and did not give back."),
        MetricDescriptor(
            64, "kaml_feed_credits", .gauge, .none, [],
            help: "Batches that may be given out before one has to come back."),
        MetricDescriptor(
            65, "kaml_feed_slab_bytes", .gauge, .bytes, [],
            help: "Shared memory that batches lie in."),
        MetricDescriptor(
            66, "kaml_feed_lent_bytes", .gauge, .bytes, [],
            help: "Containers of the cache that pods may have mapped, each counted for each stream."),
        MetricDescriptor(
            67, "kaml_trace_spans_total", .counter, .none, [],
            help: "Spans that were queued for export."),
        MetricDescriptor(
            68, "kaml_trace_spans_exported_total", .counter, .none, [],
            help: "Spans that a collector took."),
        MetricDescriptor(
            69, "kaml_trace_spans_dropped_total", .counter, .none, [SpanDropLabel.descriptor],
            help: "Spans that no collector got."),
        MetricDescriptor(
            70, "kaml_trace_exports_total", .counter, .none, [ExportOutcomeLabel.descriptor],
            help: "Requests to the collector."),
        MetricDescriptor(
            71, "kaml_trace_queued_spans", .gauge, .none, [],
            help: "Spans that wait for export."),
        MetricDescriptor(
            72, "kaml_log_messages_total", .counter, .none, [LogLevelLabel.descriptor],
            help: "Lines that were logged."),
        MetricDescriptor(
            73, "kaml_log_dropped_total", .counter, .none, [LogDropLabel.descriptor],
            help: "Lines that were left out as repetitions, shortened, or could not be written."),
        MetricDescriptor(
            74, "kaml_metrics_dropped_total", .counter, .none, [MetricDropLabel.descriptor],
            help:
                "Metrics of libraries that the catalogue does not list, and sets of labels beyond a metric's cap."
        ),
        MetricDescriptor(
            75, "kaml_metrics_scrape_seconds", .gauge, .seconds, [],
            help: "What putting together the scrape before this one took."),
        MetricDescriptor(
            76, "process_cpu_seconds_total", .counter, .seconds, [],
            help: "Processor time, user and system."),
        MetricDescriptor(
            77, "process_resident_memory_bytes", .gauge, .bytes, [],
            help: "Resident memory, mapped pages of the cache among it."),
        MetricDescriptor(
            78, "process_virtual_memory_bytes", .gauge, .bytes, [],
            help: "Virtual memory."),
        MetricDescriptor(
            79, "process_open_fds", .gauge, .none, [],
            help: "Open file descriptors."),
        MetricDescriptor(
            80, "process_max_fds", .gauge, .none, [],
            help: "The limit of open file descriptors."),
        MetricDescriptor(
            81, "process_threads", .gauge, .none, [],
            help: "Threads."),
        MetricDescriptor(
            82, "process_start_time_seconds", .gauge, .seconds, [],
            help: "Start of the process, in seconds since 1970."),
        MetricDescriptor(
            83, "kaml_process_anonymous_memory_bytes", .gauge, .bytes, [],
            help: "Resident memory that no file backs: what the agent itself takes."),
    ]

    /// What libraries report through swift-metrics, by their names for it.
    package static let libraryCounters: [String: CounterMetric<NoLabels>] = [
        "http.server.errors": agentHttpErrors
    ]
    package static let libraryGauges: [String: GaugeMetric<NoLabels>] = [
        "http.server.active_requests": agentHttpRequestsInFlight
    ]
    package static let libraryHistograms: [String: HistogramMetric<NoLabels>] = [
        "http.server.request.duration": agentHttpRequestDurationSeconds
    ]
}
