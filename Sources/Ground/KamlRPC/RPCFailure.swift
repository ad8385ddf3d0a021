package import GRPCCore
import GRPCProtobuf

/// A failed call's reason as it goes over the wire: a gRPC status with a `google.rpc.ErrorInfo`, so that people get
/// the same words from the agent as from a command of their own.
package struct RPCFailure: Error, Hashable, Sendable {
    /// A word of a fixed list, such as `notFound`.
    package var reason: String
    /// What happened, in one sentence.
    package var message: String
    /// `hint`, `why`, `dataset`, `snapshot`, `path`, `object`: what is known of them.
    package var fields: [String: String]

    package static let domain = "kaml"

    package init(reason: String, message: String, fields: [String: String] = [:]) {
        self.reason = reason
        self.message = message
        self.fields = fields
    }

    /// Nil when the error does not come from an agent, or carries no details.
    package init?(_ error: RPCError) {
        guard let status = try? error.unpackGoogleRPCStatus() else { return nil }
        guard
            let info = status.details.lazy.compactMap(\.errorInfo).first(where: { $0.domain == Self.domain })
        else { return nil }
        self.init(reason: info.reason, message: status.message, fields: info.metadata)
    }

    /// The gRPC code that clients without knowledge of the reasons go by.
    private var code: RPCError.Code {
        switch reason {
        case "usage": .invalidArgument
        case "notFound": .notFound
        case "conflict": .failedPrecondition
        case "damaged": .dataLoss
        case "noSpace": .resourceExhausted
        case "unavailable": .unavailable
        case "unsupported": .unimplemented
        case "permissionDenied": .permissionDenied
        default: .unknown
        }
    }
}

extension RPCFailure: RPCErrorConvertible {
    private var status: GoogleRPCStatus {
        GoogleRPCStatus(
            code: code, message: message,
            details: .errorInfo(reason: reason, domain: Self.domain, metadata: fields))
    }

    package var rpcErrorCode: RPCError.Code { status.rpcErrorCode }
    package var rpcErrorMessage: String { status.rpcErrorMessage }
    package var rpcErrorMetadata: Metadata { status.rpcErrorMetadata }
}
