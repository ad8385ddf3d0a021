import CKamlFeed

/// The order of an epoch's records: a bijection from places to records, a pure function of its parameters.
package struct FeedOrder: Sendable {
    package static var version: UInt32 { UInt32(KAML_ORDER_VERSION) }
    /// Most records of an order.
    package static let mostRecords: UInt64 = 1 << 62

    package enum Kind: Sendable, Hashable {
        /// As the records lie in the snapshot.
        case sequential
        /// Each order as likely as any other.
        case shuffled
        /// Blocks of `block` neighbouring records in random order, and records in random order within windows of
        /// `window` blocks. Both at least 1.
        case blocks(block: UInt64, window: UInt64)
    }

    package let records: UInt64
    package let kind: Kind
    package let seed: UInt64
    package let epoch: UInt64
    private let order: kaml_order

    /// Nil for parameters that name no order: an unknown `version`, more records than `mostRecords`, empty blocks or windows.
    package init?(
        _ kind: Kind, records: UInt64, seed: UInt64, epoch: UInt64, version: UInt32 = FeedOrder.version
    ) {
        var order = kaml_order()
        let (number, block, window): (UInt32, UInt64, UInt64) =
            switch kind {
            case .sequential: (KAML_ORDER_SEQUENTIAL.rawValue, 0, 0)
            case .shuffled: (KAML_ORDER_SHUFFLED.rawValue, 0, 0)
            case .blocks(let block, let window): (KAML_ORDER_BLOCKS.rawValue, block, window)
            }
        guard unsafe kaml_order_init(&order, version, number, records, seed, epoch, block, window) == 0 else {
            return nil
        }
        self.order = order
        (self.records, self.kind, self.seed, self.epoch) = (records, kind, seed, epoch)
    }

    /// The record at a place, below `records`; nil for a place beyond the order's end.
    @inline(__always)
    package func record(at place: UInt64) -> UInt64? {
        guard place < records else { return nil }
        return unsafe withUnsafePointer(to: order) { unsafe kaml_order_record($0, place) }
    }

    /// The inverse of `record(at:)`.
    @inline(__always)
    package func place(of record: UInt64) -> UInt64? {
        guard record < records else { return nil }
        return unsafe withUnsafePointer(to: order) { unsafe kaml_order_ordinal($0, record) }
    }

    /// Steps that each of `world` ranks has from `place` to the epoch's end: batch `step` of rank r holds the places
    /// `place + (step * world + r) * batch ..< + batch`, as far as they are below `records`. With `drop` only steps in which
    /// every rank's batch is full.
    package static func steps(records: UInt64, from place: UInt64, batch: UInt64, world: UInt32, drop: Bool)
        -> UInt64
    {
        kaml_order_steps(records, place, batch, world, drop ? 1 : 0)
    }
}
