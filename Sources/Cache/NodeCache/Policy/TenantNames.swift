/// In whose name containers are kept: a dataset of this node.
package struct CacheTenant: Sendable, Hashable {
    let index: UInt32

    /// What nobody has a name for.
    package static let shared = CacheTenant(index: 0)
}

/// Numbers for datasets, at most 63 of them; the others share one.
struct TenantNames: Sendable {
    private(set) var names = ["-"]

    mutating func tenant(named name: String) -> CacheTenant {
        if let index = names.firstIndex(of: name) { return CacheTenant(index: UInt32(index)) }
        guard names.count < 64, PinTable.isName(name) else { return .shared }
        names.append(name)
        return CacheTenant(index: UInt32(names.count - 1))
    }
}
