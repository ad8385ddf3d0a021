import FoundationEssentials
import KamlProtos
import SwiftProtobuf
package import System

/// What the agent says to a pod: answers, and notices of its own.
package enum FeedReply: Sendable {
    case failure(FeedFailure)
    case welcome(version: UInt32, session: UInt64, agent: String)
    case streamInfo(StreamInformation)
    case done
    case attributes(FileAttributes)
    case listing([ListedName], isLast: Bool, snapshot: String)
    case bytes([UInt8], isEnd: Bool)
    case slotBytes(segment: UInt32, offset: Int, length: Int, isEnd: Bool)
    case piece(InlinePiece)
    case segments([SegmentAnnouncement])
    case segmentEnd([UInt32])
    case trouble(FeedFailure, position: UInt64)
}

/// Of memory to come, whose descriptor goes beside the message.
package struct SegmentAnnouncement: Hashable, Sendable {
    package var id: UInt32
    package var bytes: UInt64
    package var isCache: Bool
}

package struct FileAttributes: Sendable {
    package enum Kind: Int, Sendable { case file = 1, directory, link, other }
    package var kind: Kind
    package var bytes: UInt64
    package var modifiedNanoseconds: Int64
    package var snapshot: String
}

package struct ListedName: Sendable {
    package var name: ByteString
    package var kind: FileAttributes.Kind
}

/// A piece of a batch of an inline stream.
package struct InlinePiece: Sendable {
    package var kind: UInt32
    package var flags: UInt32
    package var position: UInt64
    package var records: UInt32
    package var table: UInt32
    package var length: UInt64
    package var bytes: [UInt8]
}

package struct StreamInformation: Sendable {
    package struct Column: Hashable, Sendable {
        package var name: String
        package var kind: UInt32
        package var width: UInt32
    }

    package var cursor = StreamRequest.Cursor()
    package var records: UInt64 = 0
    package var columns: [Column] = []
    package var firstSteps: UInt64 = 0
    package var steps: UInt64 = 0
    package var windowBatches: UInt32 = 0
    package var lendsCache = false
    package var notice = ""
}

extension FeedReply {
    /// `id`: the request's, 0 for a notice.
    package func encoded(id: UInt64) -> [UInt8] {
        var message = Kaml_Feed_V1_Reply()
        message.id = id
        switch self {
        case .failure(let failure): message.failure = failure.message()
        case .welcome(let version, let session, let agent):
            message.welcome.version = version
            message.welcome.session = session
            message.welcome.agent = agent
        case .streamInfo(let information): message.streamInfo = information.message
        case .done: message.done = .init()
        case .attributes(let attributes):
            message.attributes.kind = attributes.kind.message
            message.attributes.bytes = attributes.bytes
            message.attributes.modifiedNanoseconds = attributes.modifiedNanoseconds
            message.attributes.snapshot = attributes.snapshot
        case .listing(let names, let isLast, let snapshot):
            message.listing.entries = names.map { name in
                var entry = Kaml_Feed_V1_Listing.Entry()
                entry.name = Data(name.name.bytes)
                entry.kind = name.kind.message
                return entry
            }
            message.listing.isLast = isLast
            message.listing.snapshot = snapshot
        case .bytes(let bytes, let isEnd):
            message.bytes.inline = Data(bytes)
            message.bytes.length = UInt64(bytes.count)
            message.bytes.isEnd = isEnd
        case .slotBytes(let segment, let offset, let length, let isEnd):
            message.bytes.segment = segment
            message.bytes.offset = UInt64(offset)
            message.bytes.length = UInt64(length)
            message.bytes.isEnd = isEnd
        case .piece(let piece):
            message.batchPiece.kind = piece.kind
            message.batchPiece.flags = piece.flags
            message.batchPiece.position = piece.position
            message.batchPiece.records = piece.records
            message.batchPiece.table = piece.table
            message.batchPiece.length = piece.length
            message.batchPiece.inline = Data(piece.bytes)
        case .segments(let segments):
            message.segments.segments = segments.map { segment in
                var announced = Kaml_Feed_V1_Segment()
                announced.id = segment.id
                announced.bytes = segment.bytes
                announced.isCache = segment.isCache
                return announced
            }
        case .segmentEnd(let ids): message.segmentEnd.ids = ids
        case .trouble(let failure, let position): message.trouble = failure.message(position: position)
        }
        // Fails only where required fields of proto2 are missing, or beyond 2 GiB.
        return (try? message.serializedBytes()) ?? []
    }
}

extension StreamInformation {
    fileprivate var message: Kaml_Feed_V1_StreamInfo {
        var message = Kaml_Feed_V1_StreamInfo()
        message.cursor.snapshot = cursor.snapshot ?? ""
        message.cursor.seed = cursor.seed
        message.cursor.epoch = cursor.epoch
        message.cursor.ordinal = cursor.ordinal
        message.cursor.orderVersion = cursor.orderVersion
        message.cursor.block = cursor.block
        message.cursor.window = cursor.window
        message.records = records
        message.columns = columns.map { column in
            var described = Kaml_Feed_V1_Column()
            described.name = column.name
            described.kind = Kaml_Feed_V1_Column.Kind(rawValue: Int(column.kind)) ?? .unspecified
            described.width = column.width
            return described
        }
        message.firstSteps = firstSteps
        message.steps = steps
        message.windowBatches = windowBatches
        message.lendsCache = lendsCache
        message.notice = notice
        return message
    }
}

extension FileAttributes.Kind {
    fileprivate var message: Kaml_Feed_V1_Attributes.Kind {
        Kaml_Feed_V1_Attributes.Kind(rawValue: rawValue) ?? .unspecified
    }
}
