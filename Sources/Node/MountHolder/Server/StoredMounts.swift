import FuseMount
import Glibc
package import System

/// Keeps mounts in the service manager's descriptor store, so that they outlive the holder as well: for each its
/// connection, its table of open files, and a record in anonymous memory, under names that carry its id.
package final class StoredMounts: MountRecording {
    private let manager: ServiceManager
    private var records: [UInt64: MountRecord] = [:]
    private let notice: (String) -> Void

    package init(_ manager: ServiceManager, notice: @escaping (String) -> Void) {
        self.manager = manager
        self.notice = notice
    }

    enum Kind: String, CaseIterable { case connection, files, record }

    static func name(_ kind: Kind, _ id: UInt64) -> String { "kaml-\(kind.rawValue)-\(id)" }

    static func parse(_ name: String) -> (Kind, UInt64)? {
        let parts = name.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count == 3, parts[0] == "kaml", let kind = Kind(rawValue: String(parts[1])),
            let id = UInt64(parts[2])
        else { return nil }
        return (kind, id)
    }

    package func keep(_ mount: KeptMount) {
        attempt(mount) { () throws(Errno) in
            let record = try MountRecord()
            try record.write(mount.mount.serialized())
            let id = mount.mount.id
            try manager.store(mount.device.rawValue, name: Self.name(.connection, id))
            try manager.store(mount.openFiles.rawValue, name: Self.name(.files, id))
            try manager.store(record.file.rawValue, name: Self.name(.record, id))
            records[id] = record
        }
    }

    package func update(_ mount: KeptMount) {
        guard let record = records[mount.mount.id] else { return }
        attempt(mount) { () throws(Errno) in try record.write(mount.mount.serialized()) }
    }

    package func forget(_ mount: KeptMount) {
        guard records.removeValue(forKey: mount.mount.id) != nil else { return }
        attempt(mount) { () throws(Errno) in
            for kind in Kind.allCases { try manager.removeStored(name: Self.name(kind, mount.mount.id)) }
        }
    }

    private func attempt(_ mount: KeptMount, _ body: () throws(Errno) -> Void) {
        do throws(Errno) { try body() } catch {
            notice(
                "\(mount.mount.mountPoint): the service manager does not keep the mount (\(error)); a restart of the holder loses it"
            )
        }
    }

    /// The mounts among the descriptors that the service manager gave. What is incomplete, damaged or ended is let go,
    /// there too.
    package func recover(_ given: [(name: String, descriptor: Int32)]) -> [KeptMount] {
        var parts: [UInt64: [Kind: Int32]] = [:]
        for (name, descriptor) in given {
            guard let (kind, id) = Self.parse(name) else { continue }
            if let twice = parts[id, default: [:]].updateValue(descriptor, forKey: kind) { close(twice) }
        }
        return parts.keys.sorted().compactMap { id in
            let found = parts[id] ?? [:]
            if let mount = recover(id, found) { return mount }
            notice("mount \(id) of the service manager's store is incomplete or has ended: let go")
            for kind in Kind.allCases { try? manager.removeStored(name: Self.name(kind, id)) }
            return nil
        }
    }

    private func recover(_ id: UInt64, _ found: [Kind: Int32]) -> KeptMount? {
        guard let connection = found[.connection], let files = found[.files], let record = found[.record]
        else {
            for descriptor in found.values { close(descriptor) }
            return nil
        }
        let device = FileDescriptor(owning: connection)
        let openFiles = FileDescriptor(owning: files)
        let kept = MountRecord(FileDescriptor(owning: record))
        guard FuseConnection.isAlive(device), OpenFilesMemory.accepts(openFiles), let bytes = kept.read(),
            let mount = try? HeldMount(serialized: bytes), mount.id == id
        else { return nil }
        records[id] = kept
        return KeptMount(mount, device: device, openFiles: openFiles)
    }
}

/// Where no service manager keeps anything.
package struct NoRecording: MountRecording {
    package init() {}
    package func keep(_ mount: KeptMount) {}
    package func update(_ mount: KeptMount) {}
    package func forget(_ mount: KeptMount) {}
}
