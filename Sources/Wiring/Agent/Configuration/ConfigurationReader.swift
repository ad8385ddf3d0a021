package import System

/// Puts a configuration together: defaults, over them the file, the environment, and the flags. Collects everything
/// that is wrong instead of ending at the first thing.
package struct ConfigurationReader {
    private var configuration: AgentConfiguration
    private var problems: [ConfigurationProblem] = []
    /// Where each setting came from, to point at when it fits nothing else.
    private var places: [String: String] = [:]

    /// `file`: its name, for messages, and its bytes. `flags` as on the command line.
    package static func read(
        file: (name: String, bytes: [UInt8])?, flags: [String], host: HostSurroundings,
        secretFile: (ByteString) -> String? = SecretFile.problem
    ) throws(ConfigurationProblems) -> AgentConfiguration {
        var reader = ConfigurationReader(configuration: AgentConfiguration(defaultsFor: host))
        if let file { reader.readFile(file.name, file.bytes) }
        reader.readEnvironment(host.variables)
        reader.readFlags(flags)
        reader.checkTogether(secretFile)
        guard reader.problems.isEmpty else { throw ConfigurationProblems(reader.problems) }
        return reader.configuration
    }

    private init(configuration: AgentConfiguration) { self.configuration = configuration }

    /// A file with more is none of ours.
    package static let largestFile = 1 << 20

    // MARK: - The file

    private mutating func readFile(_ name: String, _ bytes: [UInt8]) {
        guard bytes.count <= Self.largestFile else {
            problems.append(ConfigurationProblem(name, "this is no configuration: it has more than 1 MiB"))
            return
        }
        let root: YAMLNode
        do throws(YAMLError) { root = try YAMLParser.parse(bytes) } catch {
            problems.append(ConfigurationProblem(Self.place(name, error.place), error.message))
            return
        }
        guard case .mapping(let groups) = root.content else {
            if case .empty = root.content { return }
            problems.append(
                ConfigurationProblem(Self.place(name, root.place), "keys are expected, not \(root.kind)"))
            return
        }
        checkTwice(groups, name, above: "")
        let known = Set(Setting<AgentConfiguration>.all.compactMap(\.path.first))
        for group in groups {
            guard known.contains(group.key) else {
                unknown(group.key, Self.place(name, group.place), among: known)
                continue
            }
            switch group.value.content {
            case .empty: continue
            case .mapping(let entries):
                checkTwice(entries, name, above: group.key + ".")
                for entry in entries { readEntry(entry, group.key, name) }
            default:
                problems.append(
                    ConfigurationProblem(
                        Self.place(name, group.value.place),
                        "\(group.key) is a group of keys, not \(group.value.kind)"))
            }
        }
    }

    private mutating func readEntry(_ entry: YAMLNode.Entry, _ group: String, _ name: String) {
        let settings = Setting<AgentConfiguration>.all.filter { $0.path[0] == group }
        if let setting = settings.first(where: { $0.path[1] == entry.key }) {
            guard let text = scalar(entry.value, setting.key, setting.form, name) else { return }
            set(setting, text, Self.place(name, entry.value.place))
        } else if group == "stores", case .mapping(let fields) = entry.value.content {
            readStore(entry, fields, name)
        } else if group == "stores" {
            problems.append(
                ConfigurationProblem(
                    Self.place(name, entry.value.place),
                    "stores.\(entry.key) is a group of keys with at least url, not \(entry.value.kind)"))
        } else {
            unknown("\(group).\(entry.key)", Self.place(name, entry.place), among: Set(settings.map(\.key)))
        }
    }

    private mutating func readStore(_ entry: YAMLNode.Entry, _ fields: [YAMLNode.Entry], _ name: String) {
        let above = "stores.\(entry.key)"
        guard checkStoreName(entry.key, Self.place(name, entry.place)) else { return }
        checkTwice(fields, name, above: above + ".")
        places[above] = Self.place(name, entry.place)
        configuration.stores[entry.key, default: NamedStore()].url += ""
        for field in fields {
            let all = Setting<NamedStore>.all
            guard let setting = all.first(where: { $0.key == field.key }) else {
                unknown(
                    "\(above).\(field.key)", Self.place(name, field.place),
                    among: Set(all.map { "\(above).\($0.key)" }))
                continue
            }
            guard let text = scalar(field.value, "\(above).\(field.key)", setting.form, name) else {
                continue
            }
            setStore(entry.key, setting, text, Self.place(name, field.value.place))
        }
    }

    /// An empty value is as if the key were not there.
    private mutating func scalar(
        _ node: YAMLNode, _ key: String, _ form: String, _ name: String
    ) -> String? {
        switch node.content {
        case .empty: return nil
        case .scalar(let text): return text
        default:
            problems.append(
                ConfigurationProblem(
                    Self.place(name, node.place), "\(key) is one value (\(form)), not \(node.kind)"))
            return nil
        }
    }

    private mutating func checkTwice(_ entries: [YAMLNode.Entry], _ name: String, above: String) {
        var first: [String: TextPlace] = [:]
        for entry in entries {
            guard let before = first[entry.key] else {
                first[entry.key] = entry.place
                continue
            }
            problems.append(
                ConfigurationProblem(
                    Self.place(name, entry.place),
                    "\(above)\(entry.key) is here a second time; the first is in line \(before.line)"))
        }
    }

    private mutating func unknown(_ key: String, _ place: String, among known: Set<String>) {
        let close = known.sorted().filter { EditDistance.isClose(key, $0) }
        let hint =
            close.isEmpty
            ? "there are \(known.sorted().joined(separator: ", "))"
            : "did you mean \(close.joined(separator: " or "))?"
        problems.append(ConfigurationProblem(place, "there is no \(ByteString(key)); \(hint)"))
    }

    private static func place(_ name: String, _ place: TextPlace) -> String {
        "\(name):\(place.line):\(place.column)"
    }

    // MARK: - The environment and the flags

    private mutating func readEnvironment(_ variables: [String: String]) {
        for setting in Setting<AgentConfiguration>.all {
            guard let text = variables[setting.variable], !text.isEmpty else { continue }
            set(setting, text, setting.variable)
        }
        let prefix = "KAML_STORES_"
        for (variable, text) in variables.sorted(by: { $0.key < $1.key }) {
            guard variable.hasPrefix(prefix), !text.isEmpty else { continue }
            for setting in Setting<NamedStore>.all {
                let suffix = "_" + Setting<NamedStore>.words(setting.key, "_").uppercased()
                guard variable.hasSuffix(suffix), variable.utf8.count > prefix.utf8.count + suffix.utf8.count
                else { continue }
                let name = variable.dropFirst(prefix.count).dropLast(suffix.count).lowercased().map {
                    $0 == "_" ? "-" : $0
                }
                readStoreSetting(String(name), setting, text, variable)
            }
        }
    }

    private mutating func readFlags(_ flags: [String]) {
        var rest = flags[...]
        while let word = rest.popFirst() {
            guard word.hasPrefix("--") else {
                problems.append(ConfigurationProblem(word, "nothing is known that this could mean"))
                continue
            }
            var flag = word
            var value: String?
            if let equals = word.firstIndex(of: "=") {
                flag = String(word[..<equals])
                value = String(word[word.index(after: equals)...])
            }
            guard let target = target(of: flag) else {
                let known = Setting<AgentConfiguration>.all.map(\.flag)
                let close = known.filter { EditDistance.isClose(flag, $0) }
                problems.append(
                    ConfigurationProblem(
                        flag,
                        "there is no such flag; "
                            + (close.isEmpty
                                ? "`kamld agent --help` lists them"
                                : "did you mean \(close.joined(separator: " or "))?")))
                // Its value, if it has one, is no flag of its own.
                if value == nil, let next = rest.first, !next.hasPrefix("--") { rest.removeFirst() }
                continue
            }
            guard let text = value ?? rest.popFirst() else {
                problems.append(ConfigurationProblem(flag, "a value is missing"))
                continue
            }
            switch target {
            case .agent(let setting): set(setting, text, flag)
            case .store(let name, let setting): readStoreSetting(name, setting, text, flag)
            }
        }
    }

    private enum Target {
        case agent(Setting<AgentConfiguration>)
        case store(String, Setting<NamedStore>)
    }

    private func target(of flag: String) -> Target? {
        if let setting = Setting<AgentConfiguration>.all.first(where: { $0.flag == flag }) {
            return .agent(setting)
        }
        let prefix = "--stores-"
        guard flag.hasPrefix(prefix) else { return nil }
        for setting in Setting<NamedStore>.all {
            let suffix = "-" + Setting<NamedStore>.words(setting.key, "-")
            guard flag.hasSuffix(suffix), flag.utf8.count > prefix.utf8.count + suffix.utf8.count else {
                continue
            }
            return .store(String(flag.dropFirst(prefix.count).dropLast(suffix.count)), setting)
        }
        return nil
    }

    private mutating func readStoreSetting(
        _ name: String, _ setting: Setting<NamedStore>, _ text: String, _ place: String
    ) {
        guard checkStoreName(name, place) else { return }
        if places["stores.\(name)"] == nil { places["stores.\(name)"] = place }
        setStore(name, setting, text, place)
    }

    // MARK: - Values

    private mutating func set(_ setting: Setting<AgentConfiguration>, _ text: String, _ place: String) {
        places[setting.key] = place
        do throws(ValueError) { try setting.set(text, &configuration) } catch {
            problems.append(ConfigurationProblem(place, "\(setting.key): \(error.message)"))
        }
    }

    private mutating func setStore(
        _ name: String, _ setting: Setting<NamedStore>, _ text: String, _ place: String
    ) {
        places["stores.\(name).\(setting.key)"] = place
        do throws(ValueError) {
            try setting.set(text, &configuration.stores[name, default: NamedStore()])
        } catch {
            // It has its fault told; that it lacks a URL would be no second one.
            problems.append(ConfigurationProblem(place, "stores.\(name).\(setting.key): \(error.message)"))
        }
    }

    private mutating func checkStoreName(_ name: String, _ place: String) -> Bool {
        let letters = name.utf8.allSatisfy {
            (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) || $0 == UInt8(ascii: "-")
        }
        guard letters, (1...32).contains(name.utf8.count), name.utf8.first != UInt8(ascii: "-"),
            name != "default"
        else {
            problems.append(
                ConfigurationProblem(
                    place,
                    "\"\(ByteString(name))\" cannot name a store: small letters, digits and -, at most 32"))
            return false
        }
        return true
    }

    private mutating func checkTogether(_ secretFile: (ByteString) -> String?) {
        for (name, store) in configuration.stores.sorted(by: { $0.key < $1.key }) {
            if store.url.isEmpty, places["stores.\(name).url"] == nil {
                problems.append(
                    ConfigurationProblem(
                        places["stores.\(name)"] ?? "stores.\(name)", "stores.\(name) has no url"))
            }
            checkSecret(store.credentialsFile, "stores.\(name).credentialsFile", secretFile)
        }
        checkSecret(configuration.tracing.headersFile, "tracing.headersFile", secretFile)
        for (key, text) in configuration.cache.keys.problems(secretFile) {
            problems.append(ConfigurationProblem(places[key] ?? key, "\(key): \(text)"))
        }
        if let name = configuration.defaultStore, configuration.stores[name] == nil {
            let known = configuration.stores.keys.sorted().joined(separator: ", ")
            problems.append(
                ConfigurationProblem(
                    places["stores.default"] ?? "stores.default",
                    "stores.default: there is no store \"\(ByteString(name))\"; "
                        + (known.isEmpty ? "name one below stores" : "there are \(known)")))
        }
    }

    private mutating func checkSecret(
        _ path: ByteString?, _ key: String, _ secretFile: (ByteString) -> String?
    ) {
        guard let path, let problem = secretFile(path) else { return }
        problems.append(ConfigurationProblem(places[key] ?? key, "\(key): \(path) \(problem)"))
    }
}
