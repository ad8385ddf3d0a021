import DatasetStore
import Glibc
import System

/// What a cache's directory says of the keys that its files are sealed with: the file `seal`, a title and the names of keys as
/// text lines. Sees to it that a directory never holds files in the clear beside sealed ones.
struct SealMarker {
    private static let title = "kaml-cache-seal 1"
    private static let byteLimit = 64 << 10

    private let layout: CacheLayout
    private let files: any FileSystem
    private let sealing: CacheSealing?

    init(_ layout: CacheLayout, _ files: any FileSystem, _ sealing: CacheSealing?) {
        self.layout = layout
        self.files = files
        self.sealing = sealing
    }

    /// What is to be done with a directory before it is used.
    enum Decision: Equatable {
        case use
        /// It is sealed and there is no key: nothing in the clear may be written beside.
        case refuse
        /// Whatever needs other keys than these goes, and so does what is in the clear. Then the marker is written.
        case purge(isInTheClear: Bool)
    }

    /// `marked` has the names of the keys that files may need; nil when the directory is in the clear.
    static func decide(marked: Set<KeyName>?, keys: CacheKeys?) -> Decision {
        guard let keys else { return marked == nil ? .use : .refuse }
        guard let marked else { return .purge(isInTheClear: true) }
        return marked == keys.names ? .use : .purge(isInTheClear: false)
    }

    /// Brings the directory, of which this process has the lock, in line with the keys that are given. `version` is the one
    /// that was found in it.
    func settle(version: Int?, _ notice: (String) -> Void) throws(LockFailure) {
        do throws(Errno) {
            // Without its marker a sealed directory may hold files of any key.
            let marked = try read() ?? (version == CacheLayout.version ? [] : nil)
            switch Self.decide(marked: marked, keys: sealing?.keys) {
            case .refuse: break
            case .use:
                if sealing != nil, version != CacheLayout.version {
                    try CacheDirectory.write(CacheLayout.version, layout, files)
                }
                return
            case .purge(let isInTheClear):
                if let sealing { try change(to: sealing, isInTheClear, notice) }
                return
            }
        } catch { throw .disk(error) }
        throw .refused(
            CacheError(
                .unusable, "the cache in \(layout.directory) is encrypted, and no key was given",
                remedy: "Name its key (cache.keyFile, --cache-key-file), or another directory; or "
                    + "remove this one: it is only a cache"))
    }

    private func change(
        to sealing: CacheSealing, _ wasInTheClear: Bool, _ notice: (String) -> Void
    ) throws(Errno) {
        let removed = try purge(sealing)
        if removed > 0 {
            notice(
                wasInTheClear
                    ? "the cache in \(layout.directory) is encrypted from now on: \(removed) files in the clear "
                        + "were removed; free blocks of its disk may still hold what was in them"
                    : "\(removed) files of the cache in \(layout.directory) need a key that is not given any "
                        + "more; they were removed")
        }
        try write(sealing.keys)
        try CacheDirectory.write(CacheLayout.version, layout, files)
    }

    /// Nil when there is no marker.
    private func read() throws(Errno) -> Set<KeyName>? {
        do throws(Errno) {
            let text = String(
                decoding: try readFile(layout.seal, limit: Self.byteLimit, files), as: UTF8.self)
            let lines = text.split(separator: "\n")
            guard lines.first == Self.title[...] else { return [] }
            return Set(lines.dropFirst().compactMap { KeyName(hex: String($0)) })
        } catch .noEntry { return nil }
    }

    private func write(_ keys: CacheKeys) throws(Errno) {
        let names = keys.names.map(\.description).sorted()
        let text = ([Self.title] + names).joined(separator: "\n") + "\n"
        try replaceFile(layout.seal, Array(text.utf8), suffix: "\(getpid())", files)
    }

    // MARK: - Removing

    /// Removes every file that the keys do not open; how many.
    private func purge(_ sealing: CacheSealing) throws(Errno) -> Int {
        var removed = 0
        for folder in try files.list(layout.containers) {
            let path = layout.containers.appending(folder.name)
            guard let entries = try? files.list(path) else { continue }
            removed += try purge(entries.map(\.name), in: path, sealing)
        }
        for entry in try files.list(layout.manifests) {
            let path = layout.manifests.appending(entry.name)
            if isReadable(envelopeAt: 0, of: path, sealing) { continue }
            try remove(path)
            removed += 1
        }
        for (path, purpose) in [(layout.pins, "pins"), (layout.index, "index")] {
            try reseal(path, purpose, sealing)
        }
        return removed
    }

    private func purge(
        _ names: [ByteString], in folder: ByteString, _ sealing: CacheSealing
    ) throws(Errno) -> Int {
        var removed = 0
        let readable = Set(
            names.compactMap { CacheLayout.packID(ofMap: $0) }.filter { isReadable(mapOf: $0, sealing) })
        // Maps go before what they vouch for.
        for name in names.sorted(by: {
            CacheLayout.packID(ofMap: $0) != nil && CacheLayout.packID(ofMap: $1) == nil
        }) {
            let path = folder.appending(name)
            if let id = CacheLayout.packID(of: name), readable.contains(id) { continue }
            if name.description.hasSuffix(".hashes"),
                isReadable(envelopeAt: ReferenceHashes.headerLength, of: path, sealing)
            {
                continue
            }
            try remove(path)
            removed += 1
        }
        return removed
    }

    private func remove(_ path: ByteString) throws(Errno) {
        guard let kind = try? files.status(of: path).kind, kind != .directory else { return }
        try files.unlink(path)
    }

    private func isReadable(mapOf id: PackID, _ sealing: CacheSealing) -> Bool {
        guard let bytes = try? readFile(layout.map(id), limit: ContainerMap.headerLength, files),
            let map = unsafe bytes.withUnsafeBytes({ unsafe ContainerMap($0) }), map.isSealed,
            map.pack.isPlausible
        else { return false }
        return isReadable(envelopeAt: ContainerSeal.envelopeOffset(map.pack), of: layout.map(id), sealing)
    }

    private func isReadable(envelopeAt offset: Int, of path: ByteString, _ sealing: CacheSealing) -> Bool {
        guard let file = try? files.open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK),
            let bytes = try? files.bytes(of: file, at: offset, count: SealEnvelope.byteCount),
            let name = SealEnvelope.keyName(bytes)
        else { return false }
        return sealing.keys.key(named: name) != nil
    }

    /// Has a small file under the current key that is in the clear, or under a former one. What cannot be opened goes.
    private func reseal(_ path: ByteString, _ purpose: String, _ sealing: CacheSealing) throws(Errno) {
        let limit = PolicyIndex.byteLimit + SealEnvelope.byteCount
        guard let size = try? files.status(of: path).size, size <= limit,
            let bytes = try? readFile(path, limit: Int(size), files)
        else { return }
        let plain = SealEnvelope.keyName(bytes) == nil ? bytes : sealing.file.open(bytes, for: purpose)
        guard let plain else { return try remove(path) }
        try replaceFile(path, try sealing.file.seal(plain, for: purpose), suffix: "\(getpid())", files)
    }
}
