package import FuseMount
package import System

/// Why the holder could not be asked, or refused.
package enum HolderError: Error, Sendable, CustomStringConvertible {
    case unreachable(socket: ByteString, Errno)
    /// It did not answer in time, or closed the connection.
    case noAnswer(socket: ByteString, Errno)
    case refused(HolderRefusal)
    case otherVersion(theirs: UInt32)
    case malformedAnswer

    package var description: String {
        switch self {
        case .unreachable(let socket, let error):
            "the mount holder at \(socket) cannot be reached (\(error)); start kamld-holder"
        case .noAnswer(let socket, let error):
            "the mount holder at \(socket) does not answer (\(error)); look at kamld-holder's log"
        case .refused(let refusal): "the mount holder refused: \(refusal)"
        case .otherVersion(let theirs):
            "the mount holder speaks version \(theirs) of its protocol, this agent \(HolderLimits.protocolVersion); install both from one release"
        case .malformedAnswer:
            "the mount holder's answer makes no sense; install it and the agent from one release"
        }
    }
}

/// The holder's own reasons; those about a mount point are `MountError`s.
package enum HolderRefusal: Error, Sendable, Hashable, CustomStringConvertible {
    case notAllowed
    case owned(process: Int32)
    case unknownMount
    case badRequest(String)
    case protocolVersion(UInt32)
    case limit(String)
    case mount(MountError.Cause)

    package var description: String {
        switch self {
        case .notAllowed:
            "the mount point lies in no directory that it may mount in; start it with --allow-under for that one"
        case .owned(let process): "an agent (process \(process)) owns the mounts; stop that one first"
        case .unknownMount: "it does not know the mount, since it was restarted or the mount has ended"
        case .badRequest(let why):
            "the request is malformed (\(why)); install it and the agent from one release"
        case .protocolVersion(let version):
            "it does not speak version \(version); install both from one release"
        case .limit(let what): "it holds as many \(what) as it may; unmount some"
        case .mount(let cause): "\(cause)"
        }
    }
}
