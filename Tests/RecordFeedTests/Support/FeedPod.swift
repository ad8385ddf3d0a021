import CKamlFeed
import Glibc
import KamlProtos
import SwiftProtobuf
import System

@testable import RecordFeed

/// What a pod's library does, in the plainest way: for tests.
final class FeedPod {
    struct Refused: Error { var failure: Kaml_Feed_V1_Failure }
    struct Silence: Error {}
    struct Ended: Error {}

    private final class Handle {
        let file: FileDescriptor
        init(_ file: consuming FileDescriptor) { self.file = file }
    }

    final class Mapping {
        let base: UnsafeRawPointer
        let bytes: UnsafeRawBufferPointer
        let file: FileDescriptor
        let isCache: Bool

        init(_ file: consuming FileDescriptor, _ count: Int, isCache: Bool = false) throws(Errno) {
            guard let address = mmap(nil, count, PROT_READ, MAP_SHARED, file.rawValue, 0),
                address != MAP_FAILED
            else { throw .last }
            base = UnsafeRawPointer(address)
            bytes = UnsafeRawBufferPointer(start: address, count: count)
            self.file = file
            self.isCache = isCache
        }

        deinit { munmap(UnsafeMutableRawPointer(mutating: bytes.baseAddress), bytes.count) }
    }

    /// A batch, copied out of the shared memory.
    struct Batch {
        struct Value: Equatable {
            var record: UInt64
            var bytes: [UInt8]
            var isLent: Bool
        }

        var descriptor: kaml_descriptor
        var values: [String: [Value]] = [:]
        var numbers: [String: [Int64]] = [:]
        var dense: [String: [UInt8]] = [:]
    }

    let socket: MessageSocket
    private var lastID: UInt64 = 0
    private(set) var segments: [UInt32: Mapping] = [:]
    private(set) var ended: [UInt32] = []
    private(set) var troubles: [Kaml_Feed_V1_Failure] = []
    private(set) var information = Kaml_Feed_V1_StreamInfo()
    private(set) var completions: Mapping?
    private(set) var submissions: Mapping?
    private var event: Handle?
    private(set) var taken: UInt64 = 0
    var generation: UInt16 = 0
    private(set) var submitted: UInt64 = 0

    init(_ path: ByteString, greets: Bool = true) throws {
        socket = try MessageSocket.connect(to: path)
        try socket.setTimeout(milliseconds: 10_000)
        guard greets else { return }
        var hello = Kaml_Feed_V1_Hello()
        hello.lowestVersion = 1
        hello.highestVersion = 1
        _ = try call { $0.hello = hello }
    }

    // MARK: - The socket

    func send(_ fill: (inout Kaml_Feed_V1_Request) -> Void) throws {
        lastID += 1
        var request = Kaml_Feed_V1_Request()
        request.id = lastID
        fill(&request)
        try socket.send(try request.serializedBytes())
    }

    @discardableResult
    func call(_ fill: (inout Kaml_Feed_V1_Request) -> Void) throws -> Kaml_Feed_V1_Reply {
        try send(fill)
        while true {
            let reply = try receive()
            if case .failure(let failure)? = reply.result { throw Refused(failure: failure) }
            if reply.id == lastID { return reply }
        }
    }

    /// The next message, whose descriptors are taken in. Throws `Ended` at the connection's end.
    func receive() throws -> Kaml_Feed_V1_Reply {
        guard var message = try socket.receive(limit: 64 << 10) else { throw Ended() }
        let reply = try Kaml_Feed_V1_Reply(serializedBytes: message.bytes)
        switch reply.result {
        case .segments(let announced)?:
            for segment in announced.segments {
                guard let file = message.descriptors.take() else { throw Errno.invalid }
                segments[segment.id] = try Mapping(file, Int(segment.bytes), isCache: segment.isCache)
            }
        case .segmentEnd(let ending)?:
            ended += ending.ids
            for id in ending.ids { segments[id] = nil }
        case .trouble(let failure)?: troubles.append(failure)
        case .streamInfo(let information)?:
            self.information = information
            (taken, submitted) = (0, 0)
            if let file = message.descriptors.take() {
                let count = Int(try file.status().size)
                completions = try Mapping(file, count)
                guard let file = message.descriptors.take() else { throw Errno.invalid }
                let submissionBytes = Int(try file.status().size)
                let mapping = try Mapping(file, submissionBytes)
                submissions = mapping
                guard
                    let base = mmap(
                        nil, submissionBytes, PROT_READ | PROT_WRITE, MAP_SHARED, mapping.file.rawValue, 0),
                    base != MAP_FAILED
                else { throw Errno.last }
                writable = base
                guard let file = message.descriptors.take() else { throw Errno.invalid }
                event = Handle(file)
            }
        default: break
        }
        return reply
    }

    /// Takes in what waits, without waiting.
    func takeNotices() throws {
        var polled = pollfd(fd: socket.rawValue, events: Int16(POLLIN), revents: 0)
        while poll(&polled, 1, 0) > 0 { _ = try receive() }
    }

    // MARK: - The stream

    private(set) var writable: UnsafeMutableRawPointer?

    deinit { if let writable, let submissions { munmap(writable, submissions.bytes.count) } }

    @discardableResult
    func open(_ fill: (inout Kaml_Feed_V1_OpenStream) -> Void = { _ in }) throws -> Kaml_Feed_V1_StreamInfo {
        var open = Kaml_Feed_V1_OpenStream()
        open.dataset = "data"
        open.batchSize = 8
        open.epochs = 1
        open.cursor.seed = 7
        fill(&open)
        try call { $0.openStream = open }
        return information
    }

    private var slots: UInt64 { UInt64(completions?.bytes.load(fromByteOffset: 8, as: UInt32.self) ?? 1) }

    func published() -> UInt64 { completions.map { SharedWords.load64($0.base, 64) } ?? 0 }

    /// The next descriptor.
    func take(milliseconds: Int = 10_000) throws -> kaml_descriptor {
        for _ in 0..<milliseconds * 5 {
            if let completions, let writable, published() > taken {
                try takeNotices()
                let slot = Int(taken % slots) * 64
                let descriptor = completions.bytes.load(
                    fromByteOffset: 4096 + slot, as: kaml_descriptor.self)
                taken += 1
                SharedWords.store64(writable, 128, taken)
                return descriptor
            }
            try takeNotices()
            usleep(200)
        }
        throw Silence()
    }

    /// The next batch; nil at the end of the stream.
    func next() throws -> Batch? {
        let descriptor = try take()
        guard descriptor.kind == UInt8(KAML_DESCRIPTOR_BATCH.rawValue) else {
            if descriptor.kind == UInt8(KAML_DESCRIPTOR_END.rawValue) { return nil }
            throw Refused(failure: troubles.last ?? .init())
        }
        return try read(descriptor)
    }

    func read(_ descriptor: kaml_descriptor) throws -> Batch {
        guard let segment = segments[descriptor.segment] else { throw Errno.badAddress }
        return try read(descriptor, in: segment.bytes, at: Int(descriptor.offset))
    }

    /// Of the bytes of a batch, in which offsets count from `bytes` on.
    func read(_ descriptor: kaml_descriptor, in bytes: UnsafeRawBufferPointer, at start: Int) throws -> Batch
    {
        var batch = Batch(descriptor: descriptor)
        let count = Int(descriptor.records)
        for (index, column) in information.columns.enumerated() {
            let described = bytes.load(
                fromByteOffset: start + Int(descriptor.table) + index * MemoryLayout<kaml_column>.stride,
                as: kaml_column.self)
            guard described.offset % 64 == 0 else { throw Errno.badAddress }
            switch column.kind {
            case .int64:
                batch.numbers[column.name] = (0..<count).map {
                    bytes.load(fromByteOffset: Int(described.offset) + $0 * 8, as: Int64.self)
                }
            case .uint8:
                batch.dense[column.name] = Array(
                    bytes[Int(described.offset)..<Int(described.offset + described.length)])
            default:
                var values: [Batch.Value] = []
                for record in 0..<count {
                    let entry = bytes.load(
                        fromByteOffset: Int(described.offset) + record * 32, as: kaml_entry.self)
                    let mapping = segments[entry.segment]
                    let area = mapping.map(\.bytes) ?? bytes
                    let range = Int(entry.offset)..<Int(entry.offset + entry.length)
                    guard range.upperBound <= area.count else { throw Errno.badAddress }
                    values.append(
                        .init(
                            record: entry.record, bytes: Array(area[range]), isLent: mapping?.isCache ?? false
                        ))
                }
                if described.value_offsets != 0 {
                    // The same bytes once more, side by side.
                    let offsets = (0...count).map {
                        Int(bytes.load(fromByteOffset: Int(described.value_offsets) + $0 * 8, as: Int64.self))
                    }
                    for record in 0..<count {
                        let from = Int(described.values)
                        guard
                            Array(bytes[(from + offsets[record])..<(from + offsets[record + 1])])
                                == values[record].bytes
                        else { throw Errno.badAddress }
                    }
                }
                batch.values[column.name] = values
            }
        }
        return batch
    }

    func release(_ descriptor: kaml_descriptor, used: UInt64 = 0, waited: UInt64 = 0) {
        submit(kind: KAML_SUBMISSION_RELEASE.rawValue, descriptor.sequence, used, waited)
    }

    func submit(kind: UInt32, _ sequence: UInt64, _ used: UInt64 = 0, _ waited: UInt64 = 0) {
        guard let writable else { return }
        var entry = kaml_submission()
        entry.kind = kind
        entry.sequence = sequence
        entry.used_nanoseconds = used
        entry.waited_nanoseconds = waited
        (writable + 4096 + Int(submitted % slots) * 32).storeBytes(of: entry, as: kaml_submission.self)
        submitted += 1
        SharedWords.store64(writable, 64, submitted)
        SharedWords.fence()
        if let completions, SharedWords.load32(completions.base, 136) != 0 { wakeAgent() }
    }

    func wakeAgent() {
        var one: UInt64 = 1
        if let event { _ = Glibc.write(event.file.rawValue, &one, 8) }
    }

    /// Everything to the stream's end, each batch given back at once.
    func drain(_ body: (Batch) -> Void = { _ in }) throws {
        while let batch = try next() {
            body(batch)
            release(batch.descriptor)
        }
    }
}
