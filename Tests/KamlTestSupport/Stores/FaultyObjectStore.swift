import Glibc
package import ObjectStore
import Synchronization

/// What goes wrong with one request to a store.
package enum StoreFault: Hashable, Sendable {
    /// The request is not done and throws this.
    case fails(ObjectStoreError.Code)
    /// A create or publish is done, but its caller is told `unavailable`.
    case answerLost
    /// A read reports that the object ended early.
    case shortRead
    /// A read returns its bytes with this bit inverted, counted from the start of what was read.
    case flippedBit(Int)
    /// The request is done after this many milliseconds.
    case delayed(milliseconds: UInt32)
}

/// The requests faults are counted by.
package enum StoreRequest: Hashable, Sendable, CaseIterable {
    case size, read, create, makeWriter, append, publish, list, delete
}

/// A store with scripted or random faults in front of another one. The same script or seed gives the same faults.
package final class FaultyObjectStore: ObjectStore {
    private struct State {
        var done: [StoreRequest: Int] = [:]
        /// By request and its number, from 1.
        var script: [StoreRequest: [Int: StoreFault]] = [:]
        var always: ObjectStoreError.Code?
        var random: SplitMix64?
        var rate = 0.0
    }

    private let store: any ObjectStore
    private let state: Mutex<State>

    package var location: String { store.location }

    /// A store without faults, until `on` adds some.
    package init(_ store: any ObjectStore) {
        self.store = store
        state = Mutex(State())
    }

    /// A store where each request fails as `unavailable` with probability `rate`; half of the failed creates
    /// and publishes were done.
    package init(_ store: any ObjectStore, seed: UInt64, rate: Double) {
        self.store = store
        state = Mutex(State(random: SplitMix64(seed: seed), rate: rate))
    }

    /// Lets the n-th request of a kind from now on, counted from 1, go wrong.
    package func on(_ request: StoreRequest, _ number: Int, _ fault: StoreFault) {
        state.withLock { state in
            state.script[request, default: [:]][state.done[request, default: 0] + number] = fault
        }
    }

    /// Fails every request from now on; nil ends that.
    package func failAll(_ code: ObjectStoreError.Code?) { state.withLock { $0.always = code } }

    /// Requests of a kind so far, those that went wrong too.
    package func count(_ request: StoreRequest) -> Int { state.withLock { $0.done[request, default: 0] } }

    package func size(of key: ObjectKey) throws(ObjectStoreError) -> UInt64? {
        _ = try fault(.size, key.text)
        return try store.size(of: key)
    }

    package func read(
        _ key: ObjectKey, from offset: UInt64, into buffer: UnsafeMutableRawBufferPointer
    ) throws(ObjectStoreError) {
        let fault = try fault(.read, key.text)
        try store.read(key, from: offset, into: buffer)
        if case .flippedBit(let bit) = fault, bit / 8 < buffer.count {
            buffer[bit / 8] ^= 1 << UInt8(bit % 8)
        }
    }

    package func read(
        _ key: ObjectKey, _ range: Range<UInt64>,
        _ body: (UnsafeRawBufferPointer) throws(ObjectStoreError) -> Bool
    ) throws(ObjectStoreError) {
        let fault = try fault(.read, key.text)
        var position = 0
        try store.read(key, range) { piece throws(ObjectStoreError) in
            defer { position += piece.count }
            guard case .flippedBit(let bit) = fault, (position..<(position + piece.count)).contains(bit / 8)
            else { return try body(piece) }
            let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: piece.count, alignment: 64)
            defer { copy.deallocate() }
            copy.copyMemory(from: piece)
            copy[bit / 8 - position] ^= 1 << UInt8(bit % 8)
            return try body(UnsafeRawBufferPointer(copy))
        }
    }

    package func readAll(_ key: ObjectKey, limit: Int) throws(ObjectStoreError) -> [UInt8] {
        let fault = try fault(.read, key.text)
        var bytes = try store.readAll(key, limit: limit)
        if case .flippedBit(let bit) = fault, bit / 8 < bytes.count { bytes[bit / 8] ^= 1 << UInt8(bit % 8) }
        return bytes
    }

    package func createIfAbsent(
        _ key: ObjectKey, _ bytes: UnsafeRawBufferPointer
    ) throws(ObjectStoreError) -> CreateOutcome {
        let fault = try fault(.create, key.text)
        let outcome = try store.createIfAbsent(key, bytes)
        if fault == .answerLost { throw error(.unavailable, .create, key.text) }
        return outcome
    }

    package func makeWriter(_ key: ObjectKey) throws(ObjectStoreError) -> any ObjectWriter {
        _ = try fault(.makeWriter, key.text)
        return FaultyObjectWriter(try store.makeWriter(key), self, key)
    }

    package func list(
        _ prefix: String, after: String?, _ body: (ObjectInfo) throws(ObjectStoreError) -> Bool
    ) throws(ObjectStoreError) {
        _ = try fault(.list, prefix)
        try store.list(prefix, after: after, body)
    }

    package func delete(_ key: ObjectKey) throws(ObjectStoreError) {
        _ = try fault(.delete, key.text)
        try store.delete(key)
    }

    package func makeDurable(_ key: ObjectKey) throws(ObjectStoreError) { try store.makeDurable(key) }

    package func useSingleWriterMode() { store.useSingleWriterMode() }

    /// Counts a request, and throws or delays it when that is its fault; else returns the fault for the caller
    /// to play.
    fileprivate func fault(_ request: StoreRequest, _ key: String) throws(ObjectStoreError) -> StoreFault? {
        let fault = state.withLock { state -> StoreFault? in
            let number = state.done[request, default: 0] + 1
            state.done[request] = number
            if let always = state.always { return .fails(always) }
            if let scripted = state.script[request]?[number] { return scripted }
            guard state.rate > 0, let chance = state.random?.nextUnit(), chance < state.rate else {
                return nil
            }
            let writes = request == .create || request == .publish
            return writes && chance < state.rate / 2 ? .answerLost : .fails(.unavailable)
        }
        switch fault {
        case .fails(let code): throw error(code, request.operation, key)
        case .shortRead: throw error(.truncated, request.operation, key)
        case .delayed(let milliseconds): usleep(milliseconds * 1000)
        case .answerLost, .flippedBit, nil: break
        }
        return fault
    }

    fileprivate func error(
        _ code: ObjectStoreError.Code, _ operation: ObjectStoreError.Operation, _ key: String
    ) -> ObjectStoreError {
        ObjectStoreError(code, operation, key: key, location: location, detail: "injected")
    }
}

private final class FaultyObjectWriter: ObjectWriter {
    private let writer: any ObjectWriter
    private let store: FaultyObjectStore
    private let key: ObjectKey

    init(_ writer: any ObjectWriter, _ store: FaultyObjectStore, _ key: ObjectKey) {
        self.writer = writer
        self.store = store
        self.key = key
    }

    var bytesWritten: UInt64 { writer.bytesWritten }

    func append(_ bytes: UnsafeRawBufferPointer) throws(ObjectStoreError) {
        _ = try store.fault(.append, key.text)
        try writer.append(bytes)
    }

    func publish() throws(ObjectStoreError) -> CreateOutcome {
        let fault = try store.fault(.publish, key.text)
        let outcome = try writer.publish()
        if fault == .answerLost { throw store.error(.unavailable, .publish, key.text) }
        return outcome
    }

    func abandon() { writer.abandon() }
}

extension StoreRequest {
    fileprivate var operation: ObjectStoreError.Operation {
        switch self {
        case .size: .size
        case .read: .read
        case .create: .create
        case .makeWriter, .append: .write
        case .publish: .publish
        case .list: .list
        case .delete: .delete
        }
    }
}

extension SplitMix64 {
    /// In 0..<1.
    fileprivate mutating func nextUnit() -> Double { Double(next() >> 11) / 9_007_199_254_740_992 }
}
