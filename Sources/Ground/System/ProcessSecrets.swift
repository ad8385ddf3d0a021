import CKamlSys

/// What keeps the memory of a process to itself.
package enum ProcessSecrets {
    /// From here on no core of this process is written, and no other process of its user may read its memory or its
    /// environment (prctl(2), PR_SET_DUMPABLE): keys and credentials are in there. Root still may. Whether the kernel
    /// took it.
    @discardableResult
    package static func forbidDumps() -> Bool { kaml_forbid_dumps() == 0 }
}
