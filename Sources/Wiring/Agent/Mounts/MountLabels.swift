import FuseSession
import System

/// What an agent keeps with a mount for the next one, beside what the mount itself needs.
struct MountLabels {
    var id: String
    var request: MountRequest

    private static let identity = "id"
    private static let reference = "reference"
    private static let store = "store"
    private static let profile = "profile"
    private static let readAhead = "readAheadKiB"
    private static let allowOther = "allowOther"

    init(id: String, request: MountRequest) {
        self.id = id
        self.request = request
    }

    /// 16 hex digits.
    static func newID(_ random: any RandomSource) -> String {
        random.bytes(8).map { byte in
            let digits = String(byte, radix: 16)
            return digits.utf8.count < 2 ? "0" + digits : digits
        }.joined()
    }

    var labels: [String: String] {
        var labels = [
            Self.identity: id, Self.reference: request.reference, Self.store: request.store,
            Self.profile: request.profile.rawValue,
        ]
        labels[Self.readAhead] = request.readAheadKiB.map { "\($0)" }
        labels[Self.allowOther] = request.allowOther.map { "\($0)" }
        return labels
    }

    /// Of a mount that another agent made. Nil when that was none of ours.
    init?(_ description: MountDescription) {
        let labels = description.labels
        guard let id = labels[Self.identity], (1...64).contains(id.utf8.count) else { return nil }
        self.id = id
        request = MountRequest(
            reference: labels[Self.reference] ?? description.name,
            store: labels[Self.store] ?? description.store, mountPoint: description.mountPoint)
        request.profile = labels[Self.profile].flatMap(ProfileChoice.init(rawValue:)) ?? .auto
        request.readAheadKiB = labels[Self.readAhead].flatMap(Int.init)
        request.allowOther = labels[Self.allowOther].flatMap(Bool.init)
        request.allowNonEmpty = description.allowNonEmpty
    }
}

extension NamedStore {
    /// By their keys in the configuration, without the URL; files with secrets by their paths.
    var settings: [String: String] {
        var settings: [String: String] = [:]
        for setting in Setting<NamedStore>.all where setting.key != "url" {
            settings[setting.key] = setting.text(self)
        }
        return settings
    }

    /// As kept with a mount. What a newer agent knew more is left out.
    init(url: String, settings: [String: String]) throws(ValueError) {
        self.init()
        self.url = url
        for setting in Setting<NamedStore>.all where setting.key != "url" {
            if let text = settings[setting.key] { try setting.set(text, &self) }
        }
    }
}
