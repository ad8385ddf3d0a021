import System

extension AgentConfiguration {
    /// A commented file that sets every key to what this configuration has.
    package func rendered(withComments: Bool = true) -> String {
        var text = ""
        var group = ""
        for setting in Setting<AgentConfiguration>.all where setting.path[0] != "stores" {
            if setting.path[0] != group {
                group = setting.path[0]
                text += "\(text.isEmpty ? "" : "\n")\(group):\n"
            }
            if withComments { text += Self.comment(setting, indent: "  ") }
            text += "  \(setting.path[1]): \(Self.quoted(setting.text(self)))\n"
        }
        text += "\nstores:\n"
        if withComments { text += Self.storesComment }
        if let defaultStore { text += "  default: \(Self.quoted(defaultStore))\n" }
        for (name, store) in stores.sorted(by: { $0.key < $1.key }) {
            text += "  \(name):\n"
            for setting in Setting<NamedStore>.all {
                let value = setting.text(store)
                if withComments { text += "    # \(setting.help)\n" }
                if !value.isEmpty {
                    text += "    \(setting.key): \(Self.quoted(value))\n"
                } else if withComments {
                    text += "    # \(setting.key):\n"
                }
            }
        }
        return text
    }

    /// The keys in which two configurations differ, and of those the ones that need a restart.
    package func changes(to other: AgentConfiguration) -> (reloadable: [String], restart: [String]) {
        var changes: (reloadable: [String], restart: [String]) = ([], [])
        for setting in Setting<AgentConfiguration>.all where setting.text(self) != setting.text(other) {
            if setting.isReloadable {
                changes.reloadable.append(setting.key)
            } else {
                changes.restart.append(setting.key)
            }
        }
        let names = Set(stores.keys).union(other.stores.keys)
        for name in names.sorted() where stores[name] != other.stores[name] {
            changes.restart.append("stores.\(name)")
        }
        return changes
    }

    /// This one, with what `other` has for the keys that can change while the agent runs.
    package func reloaded(from other: AgentConfiguration) -> AgentConfiguration {
        var result = self
        for setting in Setting<AgentConfiguration>.all where setting.isReloadable {
            // Its own text is always understood.
            try? setting.set(setting.text(other), &result)
        }
        return result
    }

    /// A line for each setting, for `--help`.
    package static var help: String {
        let settings = Setting<AgentConfiguration>.all.map { ($0.flag, $0.help) }
        let stores = Setting<NamedStore>.all.map {
            ("--stores-NAME-\(Setting<NamedStore>.words($0.key, "-"))", $0.help)
        }
        return (settings + stores).map { "  \($0.0)\n      \($0.1)\n" }.joined()
    }

    private static let storesComment = """
          # Any number of stores, each below a name of its own; KAML_STORES_NAME_URL and --stores-NAME-url set one as well.

        """

    private static func comment(_ setting: Setting<AgentConfiguration>, indent: String) -> String {
        let reload = setting.isReloadable ? " Reloaded on SIGHUP." : ""
        return
            "\(indent)# \(setting.help)\(reload)\n\(indent)# \(setting.variable), \(setting.flag)\n"
    }

    private static func quoted(_ text: String) -> String {
        let plain = text.utf8.allSatisfy {
            (0x61...0x7A).contains($0) || (0x41...0x5A).contains($0) || (0x30...0x39).contains($0)
                || "/._-".utf8.contains($0)
        }
        if plain && !text.isEmpty && !["true", "false", "null", "~"].contains(text)
            || ["true", "false"].contains(text)
        {
            return text
        }
        var quoted = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "\\": quoted += "\\\(scalar)"
            case _ where scalar.value < 0x20:
                let hex = String(scalar.value, radix: 16)
                quoted += "\\x" + (hex.count < 2 ? "0" : "") + hex
            default: quoted.unicodeScalars.append(scalar)
            }
        }
        return quoted + "\""
    }
}
