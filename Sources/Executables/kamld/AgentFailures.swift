import Agent
import KamlCommand
import KamlRPC
import Logging

/// An agent's errors in the words of the commands.
enum AgentFailures {
    static func failure(_ error: any Error) -> Failure {
        guard let error = error as? AgentError else { return Failure(error) }
        let status = ExitStatus.allCases.first { $0.word == error.reason } ?? .failure
        return Failure(status, error.message, hint: error.hint)
    }
}

extension AgentObservation {
    /// Why the agent ends.
    func log(_ failure: Failure) {
        logger.critical(
            "\(failure.what)\(failure.why.map { ": \($0)" } ?? "")\(failure.hint.map { "; \($0)" } ?? "")",
            metadata: .init(uniqueKeysWithValues: failure.wireForm.fields.map { ($0, "\($1)") }))
    }
}

extension Failure {
    var wireForm: RPCFailure {
        var fields: [String: String] = [:]
        fields["why"] = why
        fields["hint"] = hint
        fields["dataset"] = dataset
        fields["snapshot"] = snapshot
        fields["path"] = path
        fields["object"] = object
        return RPCFailure(reason: status.word, message: what, fields: fields)
    }
}
