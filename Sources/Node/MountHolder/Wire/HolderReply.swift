import FoundationEssentials
import FuseMount
import KamlProtos
import SwiftProtobuf
import System

/// What the holder answers.
package enum HolderReply: Sendable {
    case done
    case welcome(version: UInt32, process: Int32)
    /// Brings the connection; to `next` the table of open files too.
    case held(HeldMount)
    case backing(Int32)
    case refused(HolderRefusal)
}

extension HolderReply {
    package func encoded() -> [UInt8] {
        var message = Kaml_Holder_V1_Reply()
        switch self {
        case .done: message.done = .init()
        case .welcome(let version, let process):
            message.welcome.protocolVersion = version
            message.welcome.process = UInt32(clamping: process)
        case .held(let mount): message.held = mount.message
        case .backing(let id): message.backing.backing = id
        case .refused(let refusal): message.failure = refusal.message
        }
        return (try? message.serializedBytes()) ?? []
    }

    package static func decoded(_ bytes: [UInt8]) throws(HolderError) -> HolderReply {
        guard let message = try? Kaml_Holder_V1_Reply(serializedBytes: bytes) else { throw .malformedAnswer }
        switch message.result {
        case nil: throw .malformedAnswer
        case .done: return .done
        case .welcome(let body):
            return .welcome(version: body.protocolVersion, process: Int32(clamping: body.process))
        case .held(let body):
            do throws(HolderRefusal) { return .held(try HeldMount(body)) } catch { throw .malformedAnswer }
        case .backing(let body): return .backing(body.backing)
        case .failure(let body): return .refused(HolderRefusal(body))
        }
    }
}

extension HolderRefusal {
    var message: Kaml_Holder_V1_Failure {
        var message = Kaml_Holder_V1_Failure()
        switch self {
        case .notAllowed: message.cause = .notAllowed
        case .owned(let process):
            message.cause = .owned
            message.errorNumber = process
        case .unknownMount: message.cause = .unknownMount
        case .badRequest(let why):
            message.cause = .badRequest
            message.detail = why
        case .protocolVersion(let version):
            message.cause = .protocolVersion
            message.errorNumber = Int32(clamping: version)
        case .limit(let what):
            message.cause = .limit
            message.detail = what
        case .mount(let cause): Self.fill(&message, cause)
        }
        return message
    }

    private static func fill(_ message: inout Kaml_Holder_V1_Failure, _ cause: MountError.Cause) {
        switch cause {
        case .missing: message.cause = .missing
        case .notDirectory: message.cause = .notDirectory
        case .notEmpty: message.cause = .notEmpty
        case .alreadyMounted(let source):
            message.cause = .alreadyMounted
            message.source = Data(source.bytes)
        case .belowMount(let source, let above):
            message.cause = .alreadyMounted
            message.source = Data(source.bytes)
            message.above = Data(above.bytes)
        case .dead: message.cause = .dead
        case .unresponsive: message.cause = .unresponsive
        case .busy: message.cause = .busy
        case .notMounted: message.cause = .notMounted
        case .deviceMissing: message.cause = .deviceMissing
        case .deviceNotPermitted: message.cause = .deviceNotPermitted
        case .systemCall(let name, let error):
            message.cause = .systemCall
            message.detail = name
            message.errorNumber = error.rawValue
        case .helperMissing, .helperFailed, .otherUsersNotAllowed, .holder:
            // A holder mounts without a helper.
            message.cause = .systemCall
            message.detail = "mounting"
            message.errorNumber = Errno.notPermitted.rawValue
        }
    }

    init(_ message: Kaml_Holder_V1_Failure) {
        switch message.cause {
        case .notAllowed: self = .notAllowed
        case .owned: self = .owned(process: message.errorNumber)
        case .unknownMount: self = .unknownMount
        case .protocolVersion: self = .protocolVersion(UInt32(clamping: message.errorNumber))
        case .limit: self = .limit(message.detail)
        case .missing: self = .mount(.missing)
        case .notDirectory: self = .mount(.notDirectory)
        case .notEmpty: self = .mount(.notEmpty)
        case .alreadyMounted where !message.above.isEmpty:
            self = .mount(
                .belowMount(
                    source: ByteString(Array(message.source)), at: ByteString(Array(message.above))))
        case .alreadyMounted: self = .mount(.alreadyMounted(source: ByteString(Array(message.source))))
        case .dead: self = .mount(.dead)
        case .unresponsive: self = .mount(.unresponsive)
        case .busy: self = .mount(.busy)
        case .notMounted: self = .mount(.notMounted)
        case .deviceMissing: self = .mount(.deviceMissing)
        case .deviceNotPermitted: self = .mount(.deviceNotPermitted)
        case .systemCall:
            self = .mount(.systemCall(name: message.detail, error: Errno(rawValue: message.errorNumber)))
        case .badRequest, .unspecified, .UNRECOGNIZED: self = .badRequest(message.detail)
        }
    }
}
