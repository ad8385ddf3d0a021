import CKamlFeed
package import DatasetFS
package import DatasetStore
package import RecordIndex
import System

/// What a stream feeds: a snapshot's records, and the way to their bytes.
package struct FeedSource: Sendable {
    /// dataset@ref, for messages.
    package var name: String
    package var snapshot: Snapshot
    package var files: DatasetFS
    package var index: RecordIndex

    package init(name: String, snapshot: Snapshot, files: DatasetFS, index: RecordIndex) {
        self.name = name
        self.snapshot = snapshot
        self.files = files
        self.index = index
    }
}

/// Turns places of the order into a batch: looks up where its values lie, decides for each whether it is lent or copied,
/// lays the batch out in a slot, and begins the reads. One thread at a time.
///
/// Layout of a slot: the columns' array; then column by column its entries (or dense values), and where all of a bytes column
/// is in the slot its offsets; then the values. Each begins on a boundary of 64 bytes.
@safe final class BatchMaker {
    /// A value whose bytes are looked up.
    @safe private struct Value {
        var file: Inode
        var offset: UInt64
        var length: UInt64
        /// Of the containers that are lent; -1 for what is copied.
        var lent: Int32
        /// Number of the file when it has to be decoded; -1 otherwise.
        var decoded: Int32 = -1
        /// In the container.
        var lentOffset: UInt64
    }

    /// Below this a value is copied although it could be lent: mapping it costs a pod more than the copy costs the agent.
    private static let smallestLent: UInt64 = 16 << 10

    private let source: FeedSource
    private let columns: [FeedColumn]
    private let plan: StreamPlan
    private let kind: FeedOrder.Kind
    private let seed: UInt64
    private let version: UInt32
    private let plane: StreamRequest.Plane
    /// Batches of an inline stream name places from their own begin on, in segment 0.
    private let isInline: Bool
    private let lending: LentContainers?

    private var order: FeedOrder
    private let records: UnsafeMutablePointer<UInt64>
    /// For each bytes column that lies in files, one for each record of a batch.
    private let values: UnsafeMutablePointer<Value>
    private let batchSize: Int
    private var nextText = 0
    /// What the file of the last look-up was: records often lie side by side.
    private var lastFile = (number: -1, inode: Inode.root, isPacked: false)
    private let decoded: DecodedBlocks

    init(
        _ source: FeedSource, _ columns: [FeedColumn], _ plan: StreamPlan, _ request: StreamRequest,
        kind: FeedOrder.Kind, version: UInt32, lending: LentContainers?
    ) throws(FeedFailure) {
        self.source = source
        self.columns = columns
        self.plan = plan
        self.kind = kind
        seed = request.cursor.seed
        self.version = version
        plane = request.plane
        isInline = request.isInline
        self.lending = lending
        batchSize = Int(request.batchSize)
        decoded = DecodedBlocks(source.index, DatasetBytes(files: source.files))
        order = try Self.order(kind, plan.records, seed, request.cursor.epoch, version)
        unsafe records = .allocate(capacity: batchSize)
        unsafe values = .allocate(capacity: max(1, batchSize * columns.count))
    }

    deinit {
        unsafe records.deallocate()
        unsafe values.deallocate()
    }

    private static func order(
        _ kind: FeedOrder.Kind, _ records: UInt64, _ seed: UInt64, _ epoch: UInt64, _ version: UInt32
    ) throws(FeedFailure) -> FeedOrder {
        guard let order = FeedOrder(kind, records: records, seed: seed, epoch: epoch, version: version) else {
            throw FeedFailure(
                .unsupported, "the order (version \(version), \(records) records) is not known to this agent",
                remedy: "Resume with an agent that is as new as the one that made the token")
        }
        return order
    }

    /// What is known of a batch before it has a slot.
    struct Layout {
        fileprivate var batch: StreamPlan.Batch
        /// Bytes of the slot.
        var slotBytes = 0
        /// Bytes that are lent.
        var mappedBytes = 0
        /// Bytes that are read into the slot.
        var copiedBytes = 0
        fileprivate var reads = 0
        fileprivate var hasLent: [Bool] = []
        fileprivate var valueBytes: [Int] = []
        /// Of the columns that are in no file's bytes, one after the other.
        fileprivate var texts: [[UInt8]] = []
    }

    /// Looks up where a batch's values lie. `make` is to follow before another call.
    func look(_ batch: StreamPlan.Batch) throws(FeedFailure) -> Layout {
        if batch.epoch != order.epoch {
            order = try Self.order(kind, plan.records, seed, batch.epoch, version)
        }
        var layout = Layout(batch: batch)
        for index in 0..<batch.count {
            guard let record = order.record(at: plan.place(batch, index)) else {
                throw FeedFailure(
                    .corrupt, "\(source.name): the order has no record at a place of its own",
                    remedy: "Report this as a defect")
            }
            unsafe records[index] = record
        }
        lending?.beginBatch()
        layout.slotBytes = Self.aligned(columns.count * MemoryLayout<kaml_column>.stride)
        for (number, column) in columns.enumerated() { try look(column, number, &layout) }
        // A batch without bytes has a place too.
        layout.slotBytes = max(layout.slotBytes, 64)
        return layout
    }

    private func look(_ column: FeedColumn, _ number: Int, _ layout: inout Layout) throws(FeedFailure) {
        let count = layout.batch.count
        var bytes = 0
        var hasLent = false
        switch column.source {
        case .label:
            layout.slotBytes += Self.aligned(count * 8)
        case .path, .key:
            for index in 0..<count {
                let text = try text(column, unsafe records[index])
                bytes += text.count
                layout.texts.append(text)
            }
        case .file:
            let values = unsafe self.values + number * batchSize
            for index in 0..<count {
                let record = unsafe records[index]
                var value = try place(record, column)
                if value.length > 0, lends(value), let run = try lendable(value, record),
                    let index = unsafe lending?.find(run.container)
                {
                    value.lent = Int32(index)
                    value.lentOffset = run.offset
                    layout.mappedBytes += Int(value.length)
                    hasLent = true
                } else {
                    guard value.length <= UInt64(Self.largestValue) else {
                        throw FeedFailure(
                            .exhausted,
                            "\(source.name): record \(record) has \(value.length) bytes, more than a slot holds",
                            remedy: "Leave the column out, or split the record", isRetryable: false)
                    }
                    bytes += Int(value.length)
                    layout.copiedBytes += Int(value.length)
                    layout.reads += 1
                }
                unsafe (values + index).initialize(to: value)
            }
        }
        layout.hasLent.append(hasLent)
        layout.valueBytes.append(bytes)
        switch column.layout {
        case .bytes:
            layout.slotBytes += Self.aligned(count * MemoryLayout<kaml_entry>.stride) + Self.aligned(bytes)
            if !hasLent { layout.slotBytes += Self.aligned((count + 1) * 8) }
        case .dense: layout.slotBytes += Self.aligned(bytes)
        case .number: break
        }
    }

    private static let largestValue = 1 << 40

    private func lends(_ value: Value) -> Bool {
        guard lending != nil, value.decoded < 0 else { return false }
        return plane == .mapped || value.length >= Self.smallestLent
    }

    private func lendable(_ value: Value, _ record: UInt64) throws(FeedFailure) -> LendableRun? {
        do throws(Errno) {
            return try source.files.lendable(value.file, offset: value.offset, length: value.length)
        } catch {
            throw failure(.read(value.file, record: record, error))
        }
    }

    private func place(_ record: UInt64, _ column: FeedColumn) throws(FeedFailure) -> Value {
        guard let place = source.index.place(record, column: column.number) else {
            throw FeedFailure(
                .corrupt, "\(source.name): the index of its records has none of number \(record)",
                remedy: "Remove the cache's indexes; they are made again")
        }
        if place.file != lastFile.number {
            let file = source.index.file(place.file)
            let entry = Inode(rawValue: file.ordinal + 1)
            do throws(Errno) {
                lastFile = (place.file, try source.files.file(of: entry), file.codec != .plain)
            } catch {
                throw failure(.read(entry, record: record, error))
            }
        }
        return Value(
            file: lastFile.inode, offset: place.offset, length: place.length, lent: -1,
            decoded: lastFile.isPacked ? Int32(clamping: place.file) : -1, lentOffset: 0)
    }

    /// What a column tells about a record that is in no file's bytes. Empty for what has none.
    private func text(_ column: FeedColumn, _ record: UInt64) throws(FeedFailure) -> [UInt8] {
        if column.source == .key {
            return unsafe source.index.withKey(record) { unsafe Array($0) } ?? []
        }
        guard let number = source.index.fileNumber(of: record) else { return [] }
        let file = source.index.file(number)
        do throws(StoreError) { return try source.snapshot.path(ofOrdinal: file.ordinal).bytes } catch {
            throw FeedFailure(error, dataset: source.name)
        }
    }

    func failure(_ problem: PendingBatch.Failure) -> FeedFailure {
        switch problem {
        case .told(let failure): return failure
        case .read(let file, let record, let errno):
            let path = source.files.describe(file)
            if errno == .stale {
                return FeedFailure(
                    .corrupt, "\(source.name):\(path): record \(record) is not where the index says",
                    remedy: "Run `kaml check` on the dataset")
            }
            return FeedFailure(
                .unavailable, "\(source.name):\(path): record \(record) cannot be read: \(errno)",
                remedy: "The agent's log says why; seek to the batch to try again")
        }
    }

    // MARK: - Making

    /// Lays a batch out in its slot and begins its reads.
    func make(_ layout: Layout, in slot: SlotPool.Slot, _ pending: PendingBatch) {
        let batch = layout.batch
        pending.begin(reads: layout.reads, bytes: layout.copiedBytes)
        nextText = 0
        var writer = SlotWriter(slot, origin: isInline ? 0 : slot.offset)
        let table = writer.take(columns.count * MemoryLayout<kaml_column>.stride)
        for (number, column) in columns.enumerated() {
            var described = kaml_column()
            described.kind = column.layout.kind.rawValue
            described.width = column.width
            switch column.layout {
            case .number:
                let run = writer.take(batch.count * 8)
                described.offset = UInt64(run.offset)
                described.length = UInt64(batch.count * 8)
                for index in 0..<batch.count {
                    unsafe run.bytes.storeBytes(
                        of: Int64(source.index.label(records[index])), toByteOffset: index * 8, as: Int64.self
                    )
                }
            case .dense:
                let run = writer.take(layout.valueBytes[number])
                described.offset = UInt64(run.offset)
                described.length = UInt64(layout.valueBytes[number])
                var target = unsafe run.bytes
                for index in 0..<batch.count {
                    let value = unsafe values[number * batchSize + index]
                    unsafe read(value, records[index], to: target, pending)
                    unsafe target += Int(value.length)
                }
            case .bytes:
                makeBytes(
                    column, number, layout, isInline ? 0 : slot.slab.segment, &writer, &described, pending)
            }
            unsafe table.bytes.storeBytes(
                of: described, toByteOffset: number * MemoryLayout<kaml_column>.stride, as: kaml_column.self)
        }
        var descriptor = kaml_descriptor()
        descriptor.segment = slot.slab.segment
        descriptor.kind = UInt8(KAML_DESCRIPTOR_BATCH.rawValue)
        if batch.padded > 0 { descriptor.flags |= UInt8(KAML_DESCRIPTOR_PADDED.rawValue) }
        if layout.mappedBytes > 0 { descriptor.flags |= UInt8(KAML_DESCRIPTOR_MAPPED.rawValue) }
        descriptor.offset = UInt64(slot.offset)
        descriptor.length = UInt64(slot.count)
        descriptor.records = UInt32(batch.count)
        pending.descriptor = descriptor
        pending.mappedBytes = layout.mappedBytes
        pending.copiedBytes = layout.copiedBytes
        pending.seal()
    }

    private func makeBytes(
        _ column: FeedColumn, _ number: Int, _ layout: Layout, _ segment: UInt32,
        _ writer: inout SlotWriter, _ described: inout kaml_column, _ pending: PendingBatch
    ) {
        let count = layout.batch.count
        let entries = writer.take(count * MemoryLayout<kaml_entry>.stride)
        described.offset = UInt64(entries.offset)
        described.length = UInt64(count * MemoryLayout<kaml_entry>.stride)
        let offsets = layout.hasLent[number] ? nil : writer.take((count + 1) * 8)
        let area = writer.take(layout.valueBytes[number])
        if let offsets = offsets {
            described.values = UInt64(area.offset)
            described.value_offsets = UInt64(offsets.offset)
        }
        var position = 0
        for index in 0..<count {
            let record = unsafe records[index]
            var entry = kaml_entry()
            entry.record = record
            unsafe offsets?.bytes.storeBytes(of: Int64(position), toByteOffset: index * 8, as: Int64.self)
            if column.source == .file {
                let value = unsafe values[number * batchSize + index]
                entry.length = value.length
                if value.lent >= 0, let lending {
                    let lent = Int(value.lent)
                    if lending.name(lent) { pending.lent.append(lent) }
                    entry.segment = lending.segment(lent)
                    entry.offset = value.lentOffset
                } else {
                    entry.segment = segment
                    entry.offset = UInt64(area.offset + position)
                    unsafe read(value, record, to: area.bytes + position, pending)
                    position += Int(value.length)
                }
            } else {
                let text = layout.texts[nextText]
                nextText += 1
                entry.segment = segment
                entry.offset = UInt64(area.offset + position)
                entry.length = UInt64(text.count)
                unsafe UnsafeMutableRawBufferPointer(start: area.bytes + position, count: text.count)
                    .copyBytes(from: text)
                position += text.count
            }
            unsafe entries.bytes.storeBytes(
                of: entry, toByteOffset: index * MemoryLayout<kaml_entry>.stride, as: kaml_entry.self)
        }
        unsafe offsets?.bytes.storeBytes(of: Int64(position), toByteOffset: count * 8, as: Int64.self)
    }

    private func read(
        _ value: Value, _ record: UInt64, to target: UnsafeMutableRawPointer, _ pending: PendingBatch
    ) {
        if value.decoded >= 0 {
            let place = RecordPlace(file: Int(value.decoded), offset: value.offset, length: value.length)
            do throws(RecordIndexError) { try unsafe decoded.copy(place, to: target) } catch {
                var told = error
                told.record = record
                told.path = source.files.describe(value.file).description
                pending.fail(.told(FeedFailure(told, dataset: source.name)))
            }
            return
        }
        unsafe pending.read(
            source.files, value.file, at: value.offset, to: target, count: Int(value.length), record: record)
    }

    static func aligned(_ count: Int) -> Int {
        (count + SlabSpace.alignment - 1) & ~(SlabSpace.alignment - 1)
    }
}

/// Gives out the runs of a slot, one after the other.
@safe private struct SlotWriter {
    @safe struct Run {
        /// In the segment.
        var offset: Int
        var bytes: UnsafeMutableRawPointer
    }

    private let slot: SlotPool.Slot
    /// What the slot's begin is called.
    private let origin: Int
    private var used = 0

    init(_ slot: SlotPool.Slot, origin: Int) {
        self.slot = slot
        self.origin = origin
    }

    mutating func take(_ count: Int) -> Run {
        defer { used += BatchMaker.aligned(count) }
        return unsafe Run(offset: origin + used, bytes: slot.bytes + used)
    }
}
