import RecordIndex

/// Which places of which epoch a rank's batches hold: the arithmetic between a stream's positions and its order.
///
/// Positions count a rank's batches from the cursor on, over all epochs. All numbers are checked once, here.
package struct StreamPlan: Sendable {
    /// Where a batch's records are found.
    package struct Batch: Hashable, Sendable {
        package var epoch: UInt64
        /// In the epoch's order, below `records`.
        package var firstPlace: UInt64
        package var count: Int
        /// Of the count, those at the end that are the epoch's first places once more.
        package var padded: Int
    }

    package let records: UInt64
    package let firstSteps: UInt64
    package let steps: UInt64
    /// Positions from here on are after the end; nil when there is none.
    package let end: UInt64?

    private let firstEpoch: UInt64
    private let ordinal: UInt64
    private let batch: UInt64
    private let rank: UInt64
    private let world: UInt64
    private let pads: Bool

    /// - Throws: `FeedFailure` for a cursor that is no place of the order.
    package init(_ request: StreamRequest, records: UInt64) throws(FeedFailure) {
        self.records = records
        guard request.cursor.ordinal <= records else {
            throw .invalid(
                "the cursor's ordinal is \(request.cursor.ordinal), of \(records) records",
                remedy: "Use the token with the dataset, paths and format that it was made for")
        }
        guard request.cursor.epoch <= 1 << 48, request.epochs <= 1 << 48 else {
            throw .invalid("the epoch is out of range")
        }
        firstEpoch = request.cursor.epoch
        ordinal = request.cursor.ordinal
        batch = UInt64(request.batchSize)
        rank = UInt64(request.rank)
        world = UInt64(request.worldSize)
        pads = request.padsRemainder && !request.dropsRemainder
        func steps(from place: UInt64) -> UInt64 {
            FeedOrder.steps(
                records: records, from: place, batch: UInt64(request.batchSize), world: request.worldSize,
                drop: request.dropsRemainder)
        }
        firstSteps = steps(from: request.cursor.ordinal)
        self.steps = steps(from: 0)
        if request.epochs == 0 {
            // An epoch without a batch is followed by others without one.
            end = self.steps == 0 ? firstSteps : nil
        } else {
            let (later, overflow) = self.steps.multipliedReportingOverflow(by: request.epochs - 1)
            let (all, second) = firstSteps.addingReportingOverflow(later)
            end = overflow || second ? nil : all
        }
    }

    /// Nil after the stream's end.
    package func batch(at position: UInt64) -> Batch? {
        if let end, position >= end { return nil }
        var epoch = firstEpoch
        var step = position
        var base = ordinal
        if position >= firstSteps {
            // There are batches after the first epoch, so `steps` is not 0.
            let later = position - firstSteps
            epoch += 1 + later / steps
            step = later % steps
            base = 0
        }
        // Below `steps`, so nothing here is more than the records and one round of all ranks.
        let first = base + (step * world + rank) * batch
        let own = first < records ? min(batch, records - first) : 0
        guard pads, own < batch, records > 0 else {
            return Batch(epoch: epoch, firstPlace: min(first, records), count: Int(own), padded: 0)
        }
        return Batch(
            epoch: epoch, firstPlace: min(first, records), count: Int(batch), padded: Int(batch - own))
    }

    /// The place of a batch's record `index`: those that pad begin the epoch again, as often as it takes.
    @inline(__always)
    package func place(_ batch: Batch, _ index: Int) -> UInt64 {
        let place = batch.firstPlace + UInt64(index)
        return place < records ? place : (place - records) % records
    }
}
