import DatasetStore
import System

/// Which dataset each container is kept for, as text lines `tenant NAME` and below each the ids of its packs. A container
/// that is not listed belongs to nobody in particular.
enum PolicyIndex {
    private static let title = "kaml-cache-index 1"
    static let byteLimit = 128 << 20

    static func encode(_ owners: [(PackID, UInt32)], _ names: [String]) -> [UInt8] {
        var text = title + "\n"
        for (tenant, packs) in Dictionary(grouping: owners, by: \.1).sorted(by: { $0.key < $1.key })
        where tenant > 0 && Int(tenant) < names.count {
            text += "tenant \(names[Int(tenant)])\n"
            for (pack, _) in packs { text += "\(pack)\n" }
        }
        return Array(text.utf8)
    }

    /// Nothing of a file that is no index; lines that are none are skipped.
    static func decode(_ bytes: [UInt8], _ names: inout TenantNames) -> [PackID: CacheTenant] {
        let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n")
        guard lines.first == title[...] else { return [:] }
        var owners: [PackID: CacheTenant] = [:]
        var tenant = CacheTenant.shared
        for line in lines.dropFirst() {
            if line.hasPrefix("tenant ") {
                tenant = names.tenant(named: String(line.dropFirst(7)))
            } else if let id = PackID(hex: String(line)) {
                owners[id] = tenant
            }
        }
        return owners
    }

    static func read(_ context: CacheContext) -> [PackID: CacheTenant] {
        guard let size = try? context.files.status(of: context.layout.index).size, size <= byteLimit,
            let bytes = try? context.readWhole(context.layout.index, limit: Int(size), for: "index")
        else { return [:] }
        return context.tenants.withLock { decode(bytes, &$0) }
    }

    static func write(_ owners: [(PackID, UInt32)], _ context: CacheContext) {
        let names = context.tenants.withLock { $0.names }
        do throws(Errno) {
            try context.replaceWhole(
                context.layout.index, encode(owners, names), suffix: "tmp", for: "index")
        } catch { context.noticeDiskTrouble(error) }
    }
}
