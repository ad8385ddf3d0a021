package import GRPCCore
package import KamlProtos
import KamlRPC
import SwiftProtobuf

/// `grpc.health.v1.Health`: the empty service name stands for the whole agent.
package struct HealthService: Grpc_Health_V1_Health.SimpleServiceProtocol {
    private static let known = ["", Kaml_Agent_V1_Agent.descriptor.fullyQualifiedService]
    private static let watchInterval = Duration.seconds(1)

    private let isServing: @Sendable () -> Bool

    package init(isServing: @escaping @Sendable () -> Bool) { self.isServing = isServing }

    private var status: Grpc_Health_V1_HealthCheckResponse {
        .with { $0.status = isServing() ? .serving : .notServing }
    }

    package func check(
        request: Grpc_Health_V1_HealthCheckRequest, context: ServerContext
    ) async throws -> Grpc_Health_V1_HealthCheckResponse {
        guard Self.known.contains(request.service) else {
            throw RPCError(code: .notFound, message: "there is no such service")
        }
        return status
    }

    package func watch(
        request: Grpc_Health_V1_HealthCheckRequest, response: RPCWriter<Grpc_Health_V1_HealthCheckResponse>,
        context: ServerContext
    ) async throws {
        guard Self.known.contains(request.service) else {
            try await response.write(.with { $0.status = .serviceUnknown })
            return
        }
        var last: Grpc_Health_V1_HealthCheckResponse?
        while !Task.isCancelled {
            let now = status
            if now != last { try await response.write(now) }
            last = now
            try await Task.sleep(for: Self.watchInterval)
        }
    }
}
