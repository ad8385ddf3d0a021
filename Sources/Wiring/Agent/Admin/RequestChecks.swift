import FoundationEssentials
import FuseSession
import KamlProtos
import System

/// What comes over the socket, checked once.
enum RequestText {
    static let longest = 4096

    static func bounded(_ text: String, _ what: String) throws(AgentError) -> String {
        guard !text.isEmpty else { throw .invalid("\(what) is missing", hint: "name it") }
        return try short(text, what)
    }

    static func short(_ text: String, _ what: String) throws(AgentError) -> String {
        guard text.utf8.count <= longest, !text.utf8.contains(0) else {
            throw .invalid("\(what) is too long, or holds a NUL", hint: "at most \(longest) bytes")
        }
        return text
    }
}

struct CheckedTarget {
    var reference: String
    var store: String

    init(_ target: Kaml_Agent_V1_Target) throws(AgentError) {
        reference = try RequestText.bounded(target.reference, "a dataset's name")
        store = try RequestText.short(target.store, "a store's name")
    }
}

enum MountPointText {
    /// An absolute path without empty and `.` segments. `..` is refused: what it means depends on symlinks.
    static func checked(_ bytes: [UInt8]) throws(AgentError) -> ByteString {
        guard bytes.first == UInt8(ascii: "/"), !bytes.contains(0), bytes.count < RequestText.longest else {
            throw .invalid(
                "a mount point is an absolute path", hint: "give one of at most \(RequestText.longest) bytes")
        }
        let segments = bytes.split(separator: UInt8(ascii: "/")).filter { !$0.elementsEqual(".".utf8) }
        guard !segments.contains(where: { $0.elementsEqual("..".utf8) }) else {
            throw .invalid("a mount point has no ..", hint: "give the path that it means")
        }
        guard !segments.isEmpty else {
            throw .invalid("/ is no mount point", hint: "choose an empty directory")
        }
        return ByteString([UInt8(ascii: "/")] + Array(segments.joined(separator: [UInt8(ascii: "/")])))
    }
}

extension MountRequest {
    init(_ message: Kaml_Agent_V1_MountRequest) throws(AgentError) {
        let target = try CheckedTarget(message.target)
        self.init(
            reference: target.reference, store: target.store,
            mountPoint: try MountPointText.checked(Array(message.mountPoint)))
        switch message.profile {
        case .unspecified: profile = .auto
        case .large: profile = .large
        case .small: profile = .small
        case .UNRECOGNIZED:
            throw .invalid(
                "this agent does not know the mount profile", hint: "large or small, or leave it out")
        }
        if message.hasReadAheadKib {
            guard message.readAheadKib <= 1 << 20 else {
                throw .invalid("read-ahead is too large", hint: "0 to 1048576 KiB")
            }
            readAheadKiB = Int(message.readAheadKib)
        }
        if message.hasAllowOther { allowOther = message.allowOther }
        allowNonEmpty = message.allowNonEmpty
    }
}
