import FoundationEssentials
import KamlProtos
import SwiftProtobuf
package import System

/// Bounds of what a pod may ask.
package enum FeedLimits {
    package static let messageBytes = 64 << 10
    /// Of file content or of a batch in an answer.
    static let inlineBytes = 60 << 10
    static let nameBytes = 1024
    static let pathBytes = 4096
    static let paths = 64
    static let columns = 16
    static let batchSize: UInt32 = 1 << 20
    static let worldSize: UInt32 = 1 << 20
    /// Batches that may be out at a time. The rings have at least as many slots.
    static let windowBatches = 1024
    static let readBytes: UInt64 = 1 << 30
    static let clientBytes = 128
}

/// A request from a pod, bounded.
package struct FeedRequest: Sendable {
    package enum Operation: Sendable {
        case hello(lowest: UInt32, highest: UInt32, client: String)
        case openStream(StreamRequest)
        case seek(position: UInt64, generation: UInt16)
        case closeStream
        case stat(FileRequest)
        case list(FileRequest, after: ByteString)
        case read(FileRequest, offset: UInt64, length: Int, takesSlot: Bool)
        case readBatch(position: UInt64, offset: UInt64)
    }

    package var id: UInt64
    package var operation: Operation
}

/// dataset@ref in a store, which is a name of the configuration or empty for the default.
package struct FeedName: Hashable, Sendable {
    package var dataset: String
    package var store: String

    package init(dataset: String, store: String) {
        self.dataset = dataset
        self.store = store
    }
}

/// A path of a snapshot.
package struct FileRequest: Hashable, Sendable {
    package var name: FeedName
    package var path: ByteString
}

/// What an OpenStream asks for.
package struct StreamRequest: Sendable {
    package enum Format: Int, Sendable {
        case byName, tfRecord, files, tar, jsonLines, fixed
    }
    package enum Order: Int, Sendable {
        case sequential = 1
        case shuffled, blocks, cachedFirst
    }
    package enum Plane: Int, Sendable {
        case any, slots, mapped
    }

    package struct Cursor: Hashable, Sendable {
        /// Hex digits of the whole id; nil for what the name stands for now.
        package var snapshot: String?
        package var seed: UInt64 = 0
        package var epoch: UInt64 = 0
        package var ordinal: UInt64 = 0
        package var orderVersion: UInt32 = 0
        package var block: UInt64 = 0
        package var window: UInt64 = 0
        package init() {}
    }

    package var name: FeedName
    package var paths: [String] = []
    package var format = Format.byName
    package var recordBytes: UInt32 = 0
    package var headerBytes: UInt32 = 0
    package var columns: [String] = []
    package var batchSize: UInt32 = 1
    package var dropsRemainder = false
    package var padsRemainder = false
    package var cursor = Cursor()
    /// 0 to go on for ever.
    package var epochs: UInt64 = 0
    package var order = Order.shuffled
    package var rank: UInt32 = 0
    package var worldSize: UInt32 = 1
    package var plane = Plane.any
    /// 0 for the agent's choice.
    package var windowBatches = 0
    package var windowBytes: UInt64 = 0
    package var traceparent = ""
    package var isInline = false

    package init(_ name: FeedName) { self.name = name }
}

extension FeedRequest {
    /// The one place where a pod's bytes become a request.
    ///
    /// - Throws: `FeedFailure`, with the request's id where that could be read.
    package static func decode(_ bytes: [UInt8]) throws(UnreadRequest) -> FeedRequest {
        guard bytes.count <= FeedLimits.messageBytes,
            let message = try? Kaml_Feed_V1_Request(serializedBytes: bytes)
        else {
            throw UnreadRequest(id: 0, failure: .invalid("the message is no request"))
        }
        guard message.id != 0 else {
            throw UnreadRequest(id: 0, failure: .invalid("the request has no id"))
        }
        do throws(FeedFailure) {
            return FeedRequest(id: message.id, operation: try operation(message))
        } catch {
            throw UnreadRequest(id: message.id, failure: error)
        }
    }

    private static func operation(_ message: Kaml_Feed_V1_Request) throws(FeedFailure) -> Operation {
        switch message.operation {
        case nil:
            throw FeedFailure(
                .unsupported, "the agent does not know the request",
                remedy: "Use a newer agent, or an older client"
            )
        case .hello(let body):
            guard body.client.utf8.count <= FeedLimits.clientBytes else {
                throw .invalid("the client's name has more than \(FeedLimits.clientBytes) bytes")
            }
            return .hello(lowest: body.lowestVersion, highest: body.highestVersion, client: body.client)
        case .openStream(let body): return .openStream(try StreamRequest(body))
        case .seek(let body):
            guard let generation = UInt16(exactly: body.generation) else {
                throw .invalid("generation \(body.generation) is above 65,535")
            }
            return .seek(position: body.position, generation: generation)
        case .closeStream: return .closeStream
        case .stat(let body):
            return .stat(try file(body.dataset, body.store, body.path))
        case .list(let body):
            return .list(try file(body.dataset, body.store, body.path), after: try path(body.after))
        case .read(let body):
            guard body.length <= FeedLimits.readBytes else {
                throw .invalid("more than 1 GiB is asked for at once")
            }
            return .read(
                try file(body.dataset, body.store, body.path), offset: body.offset,
                length: Int(body.length), takesSlot: body.takesSlot)
        case .readBatch(let body): return .readBatch(position: body.position, offset: body.offset)
        }
    }

    private static func file(
        _ dataset: String, _ store: String, _ bytes: Data
    ) throws(FeedFailure) -> FileRequest {
        FileRequest(name: try FeedName(checking: dataset, store), path: try path(bytes))
    }

    private static func path(_ bytes: Data) throws(FeedFailure) -> ByteString {
        guard bytes.count <= FeedLimits.pathBytes, !bytes.contains(0) else {
            throw .invalid("a path has more than \(FeedLimits.pathBytes) bytes, or a NUL")
        }
        return ByteString(Array(bytes))
    }
}

/// A message that became no request.
package struct UnreadRequest: Error {
    /// 0 when not even that could be read.
    package var id: UInt64
    package var failure: FeedFailure
}

extension FeedName {
    fileprivate init(checking dataset: String, _ store: String) throws(FeedFailure) {
        guard !dataset.isEmpty, dataset.utf8.count <= FeedLimits.nameBytes,
            store.utf8.count <= FeedLimits.nameBytes
        else {
            throw .invalid("a dataset's name is missing, or too long", remedy: "Name it as DATASET@REF")
        }
        self.init(dataset: dataset, store: store)
    }
}

extension StreamRequest {
    fileprivate init(_ body: Kaml_Feed_V1_OpenStream) throws(FeedFailure) {
        self.init(try FeedName(checking: body.dataset, body.store))
        guard body.paths.count <= FeedLimits.paths,
            body.paths.allSatisfy({ $0.utf8.count <= FeedLimits.pathBytes && !$0.utf8.contains(0) })
        else { throw .invalid("there are more than \(FeedLimits.paths) paths, or one is too long") }
        paths = body.paths
        guard let format = Format(rawValue: body.format.rawValue) else {
            throw FeedFailure(
                .unsupported, "format \(body.format.rawValue) is not served by this agent",
                remedy: "Use a newer agent, or another format")
        }
        self.format = format
        guard format != .fixed || body.recordBytes > 0 else {
            throw .invalid("records of fixed length need record_bytes")
        }
        recordBytes = body.recordBytes
        headerBytes = body.headerBytes
        guard body.columns.count <= FeedLimits.columns,
            body.columns.allSatisfy({ $0.utf8.count <= FeedLimits.nameBytes }),
            Set(body.columns).count == body.columns.count
        else { throw .invalid("there are more than \(FeedLimits.columns) columns, or one twice") }
        columns = body.columns
        guard (1...FeedLimits.batchSize).contains(body.batchSize) else {
            throw .invalid("batch_size is \(body.batchSize), not 1 to \(FeedLimits.batchSize)")
        }
        batchSize = body.batchSize
        dropsRemainder = body.dropRemainder
        padsRemainder = body.padRemainder
        cursor = try Cursor(body.cursor)
        epochs = body.epochs
        guard let order = body.order == .unspecified ? .shuffled : Order(rawValue: body.order.rawValue) else {
            throw FeedFailure(
                .unsupported, "order \(body.order.rawValue) is not known to this agent",
                remedy: "Use a newer agent, or another order")
        }
        self.order = order
        worldSize = max(1, body.worldSize)
        guard worldSize <= FeedLimits.worldSize, body.rank < worldSize else {
            throw .invalid("rank \(body.rank) of \(worldSize) cannot be")
        }
        rank = body.rank
        guard order != .cachedFirst || worldSize == 1 else {
            throw .invalid(
                "ORDER_CACHED_FIRST depends on this node's cache, and other ranks have other ones",
                remedy: "Use ORDER_SHUFFLED or ORDER_BLOCKS with several ranks")
        }
        guard let plane = Plane(rawValue: body.plane.rawValue) else {
            throw .invalid("there is no plane \(body.plane.rawValue)")
        }
        self.plane = plane
        windowBatches = min(Int(body.windowBatches), FeedLimits.windowBatches)
        windowBytes = body.windowBytes
        guard body.traceparent.utf8.count <= 256 else { throw .invalid("the traceparent is too long") }
        traceparent = body.traceparent
        isInline = body.isInline
        guard !(isInline && plane == .mapped) else {
            throw .invalid(
                "an inline stream has no descriptors to lend the cache by",
                remedy: "Leave the plane to the agent")
        }
    }
}

extension StreamRequest.Cursor {
    fileprivate init(_ body: Kaml_Feed_V1_Cursor) throws(FeedFailure) {
        self.init()
        if !body.snapshot.isEmpty {
            guard body.snapshot.utf8.count == 64,
                body.snapshot.utf8.allSatisfy({ (0x30...0x39).contains($0) || (0x61...0x66).contains($0) })
            else { throw .invalid("the cursor's snapshot is no id of 64 hex digits") }
            snapshot = body.snapshot
        }
        seed = body.seed
        epoch = body.epoch
        ordinal = body.ordinal
        orderVersion = body.orderVersion
        block = body.block
        window = body.window
    }
}
