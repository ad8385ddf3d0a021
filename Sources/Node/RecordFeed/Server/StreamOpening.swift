import Chunking
import DatasetStore
import CKamlFeed
import DatasetFS
import NodeCache
import RecordIndex
import System
import Telemetry

/// Makes a stream of what a pod asks for. Blocks, while the snapshot is opened and its records are indexed.
struct StreamOpening {
    let datasets: any FeedDatasets
    let indexes: RecordIndexes
    let lending: FeedLending
    let options: FeedOptions
    let metrics: FeedMetrics

    /// - Throws: `FeedFailure`.
    func open(
        _ request: StreamRequest, for connection: FeedConnection
    ) throws(FeedFailure) -> (stream: OpenStream, information: StreamInformation) {
        let dataset = try datasets.open(request.name, snapshot: request.cursor.snapshot, for: connection.peer)
        let index = try index(of: dataset, request, connection)
        let source = FeedSource(
            name: dataset.name, snapshot: dataset.snapshot, files: dataset.files, index: index)
        let columns = try FeedColumn.choose(request.columns, of: index.columns, in: dataset.name)
        guard Int(request.batchSize) * max(1, columns.count) <= Self.mostValues else {
            throw .invalid(
                "batches of \(request.batchSize) records with \(columns.count) columns are too large",
                remedy: "Use a smaller batch_size, or fewer columns")
        }
        let plan = try StreamPlan(request, records: index.records)
        let version = request.cursor.orderVersion == 0 ? FeedOrder.version : request.cursor.orderVersion
        let (kind, block, window) = try Self.order(request, index)

        let mean = index.records > 0 ? index.bytes / index.records : 0
        let expected = Int(clamping: (mean + 64) * UInt64(request.batchSize))
        let credits = Self.credits(request, expected, options)
        var notice = ""
        let files = try containerFiles(request, &notice)
        let outbox = OutboxBox()
        let containers = files.map { files in
            LentContainers(files, connection.segments) { file, segment in
                outbox.value.announce(segment, file)
            } end: {
                outbox.value.add(.segmentEnd([$0]))
            }
        }
        let maker = try BatchMaker(
            source, columns, plan, request, kind: kind, version: version, lending: containers)
        connection.closed?.waitUntilOver()
        let pool = connection.pool
        pool.begin(.init(bytes: options.sessionMemory, batch: expected))

        var information = StreamInformation()
        information.cursor = request.cursor
        information.cursor.snapshot = dataset.snapshot.id.hex
        information.cursor.orderVersion = version
        information.cursor.block = block
        information.cursor.window = window
        information.records = index.records
        information.columns = columns.map {
            .init(name: $0.name, kind: $0.layout.kind.rawValue, width: $0.width)
        }
        information.firstSteps = plan.firstSteps
        information.steps = plan.steps
        information.windowBatches = UInt32(credits.batches)
        information.lendsCache = containers != nil
        information.notice = notice
        if request.isInline {
            return (.inline(InlineStream(plan, maker, pool)), information)
        }
        do throws(Errno) {
            let stream = try FeedStream(
                plan: plan, maker: maker, pool: pool, lending: containers, outbox: outbox, credits: credits,
                parent: SpanContext(traceparent: request.traceparent), metrics: metrics, owner: connection)
            return (.rings(stream), information)
        } catch {
            throw FeedFailure(
                .exhausted, "there are no descriptors or memory for a stream: \(error)",
                remedy: "Close other feeds of the node, or raise the agent's limits")
        }
    }

    /// Values of a batch; what is looked up of each is kept while the batch is made.
    private static let mostValues = 2 << 20

    private func index(
        of dataset: FeedDataset, _ request: StreamRequest, _ connection: FeedConnection
    ) throws(FeedFailure) -> RecordIndex {
        do throws(RecordIndexError) {
            let selection = try RecordSelection(
                paths: request.paths.map { ByteString($0) },
                format: request.format == .byName
                    ? nil : RecordFormat(rawValue: UInt8(request.format.rawValue)),
                recordBytes: request.recordBytes, headerBytes: request.headerBytes)
            let build = indexes.begin(
                dataset.snapshot, selection, DatasetBytes(files: dataset.files),
                published: dataset.files.origin)
            while !connection.isOver {
                if let outcome = build.wait(milliseconds: 100) { return try outcome.get() }
            }
            throw RecordIndexError(.cancelled, "the pod is gone")
        } catch {
            throw FeedFailure(error, dataset: dataset.name)
        }
    }

    /// Parameters that shape the order come from the token, or else from what the agent holds; they go into the token.
    private static func order(
        _ request: StreamRequest, _ index: RecordIndex
    ) throws(FeedFailure) -> (FeedOrder.Kind, block: UInt64, window: UInt64) {
        switch request.order {
        case .sequential: return (.sequential, 0, 0)
        case .shuffled: return (.shuffled, 0, 0)
        case .cachedFirst:
            throw FeedFailure(
                .unsupported, "this agent does not give out what it has in its cache first",
                remedy: "Ask for the shuffled order, or for blocks")
        case .blocks:
            // About 1 MiB of neighbours, which one request brings, and 64 such blocks mixed.
            let mean = max(1, index.records > 0 ? index.bytes / index.records : 1)
            let block = request.cursor.block > 0 ? request.cursor.block : max(1, (1 << 20) / mean)
            let window = request.cursor.window > 0 ? request.cursor.window : 64
            return (.blocks(block: block, window: window), block, window)
        }
    }

    private static func credits(
        _ request: StreamRequest, _ expected: Int, _ options: FeedOptions
    ) -> Credits {
        // Several batches deep, so that reads from the store overlap; small ones more, since they cost little.
        let room = max(1, min(options.sessionMemory / 2, 128 << 20) / max(1, expected))
        let batches = request.windowBatches > 0 ? request.windowBatches : max(4, min(64, room))
        let bytes = request.windowBytes > 0 ? Int(clamping: request.windowBytes) : options.sessionMemory
        return Credits(batches: batches, bytes: bytes)
    }

    private func containerFiles(
        _ request: StreamRequest, _ notice: inout String
    ) throws(FeedFailure) -> ContainerFiles? {
        if request.plane == .slots || request.isInline { return nil }
        switch lending.files {
        case .success(let files): return files
        case .failure(let reason):
            guard request.plane != .mapped else {
                throw FeedFailure(
                    .unsupported, "the agent cannot lend its cache: \(reason)",
                    remedy: "Leave the plane to the agent, or run it with kamld-holder")
            }
            notice = "records are copied, since the agent cannot lend its cache: \(reason)"
            return nil
        }
    }
}

extension FeedFailure {
    init(_ error: RecordIndexError, dataset: String) {
        let code: Code =
            switch error.code {
            case .damaged: .corrupt
            case .unsupported: .unsupported
            case .notFound: .notFound
            case .invalidInput: .invalid
            case .unavailable, .cancelled: .unavailable
            }
        var told = error
        told.remedy = nil
        self.init(code, "\(dataset): \(told)", remedy: error.remedy ?? "The agent's log says why")
    }
}
