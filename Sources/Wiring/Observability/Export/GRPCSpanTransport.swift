package import GRPCCore
import HTTPExchange
import KamlRPC
import System

/// OTLP over gRPC: one connection, made when the first spans go and again when it breaks.
package final class GRPCSpanTransport<Connection: ClientTransport>: SpanTransport {
    private let client: GRPCClient<Connection>
    private let metadata: Metadata
    private let options: CallOptions
    private let state = Monitor(State())

    private struct State {
        var hasStarted = false
        var isCancelled = false
        var call: Task<Void, Never>?
    }

    private typealias Export = Opentelemetry_Proto_Collector_Trace_V1_TraceService.Method.Export

    package init(_ connection: Connection, _ settings: ExportSettings) {
        client = GRPCClient(transport: connection)
        var metadata = Metadata()
        for field in settings.fields { metadata.addString(field.value, forKey: field.name) }
        self.metadata = metadata
        var options = CallOptions.defaults
        options.timeout = .nanoseconds(settings.timeout)
        // One that is not there is asked again at the exporter's pace.
        options.waitForReady = false
        self.options = options
    }

    package func send(_ request: [UInt8]) -> SpanDelivery {
        let answer = Monitor<SpanDelivery?>(nil)
        let isTaken = state.withLock { state in
            guard !state.isCancelled else { return false }
            if !state.hasStarted {
                state.hasStarted = true
                Task.detached { [client] in try? await client.runConnections() }
            }
            state.call = Task.detached { [self] in
                let delivery = await export(request)
                answer.withLock { $0 = delivery }
                answer.wake()
            }
            return true
        }
        guard isTaken else { return .later(after: nil, why: "cancelled") }
        return answer.wait { $0 }
    }

    package func cancel() {
        let call = state.withLock { state in
            state.isCancelled = true
            return state.call
        }
        call?.cancel()
        client.beginGracefulShutdown()
    }

    private func export(_ request: [UInt8]) async -> SpanDelivery {
        do {
            return try await client.unary(
                request: ClientRequest(message: request, metadata: metadata), descriptor: Export.descriptor,
                serializer: MessageBytes(), deserializer: MessageBytes(), options: options
            ) { response in
                guard let rejected = SpanMessages.rejected(try response.message) else {
                    return .refused(why: "the answer is none of OTLP's")
                }
                return .taken(rejected: rejected)
            }
        } catch let error as RPCError {
            return GRPCSpanDelivery.delivery(error)
        } catch {
            return .later(after: nil, why: "\(error)")
        }
    }
}

enum GRPCSpanDelivery {
    /// What OTLP's specification makes of a failed call.
    static func delivery(_ error: RPCError) -> SpanDelivery {
        switch error.code {
        case .cancelled, .deadlineExceeded, .aborted, .outOfRange, .unavailable, .dataLoss,
            .resourceExhausted:
            .later(after: nil, why: "\(error.code)")
        default: .refused(why: "\(error.code): \(error.message)")
        }
    }
}

/// Messages that are serialized already.
private struct MessageBytes: MessageSerializer, MessageDeserializer {
    func serialize<Bytes: GRPCContiguousBytes>(_ message: [UInt8]) -> Bytes { Bytes(message) }

    func deserialize<Bytes: GRPCContiguousBytes>(_ bytes: Bytes) -> [UInt8] {
        unsafe bytes.withUnsafeBytes { unsafe Array($0) }
    }
}
