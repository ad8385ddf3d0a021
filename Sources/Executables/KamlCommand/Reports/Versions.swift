import CCrypto
import CFuse3
import CZstd
import DatasetStore

/// Of this program and of what it is linked with.
package struct Versions: Report {
    package static let kaml = "0.1.0"
    /// Of the sources; "unknown" unless a build says it.
    package static let commit = "unknown"

    package init() {}

    private var libraries: [(name: String, version: String)] {
        unsafe [
            ("libfuse", String(cString: fuse_pkgversion())),
            ("libzstd", String(cString: ZSTD_versionString())),
            ("libcrypto", String(cString: OpenSSL_version(OPENSSL_VERSION_STRING))), ("swift", Self.swift),
        ]
    }

    private static var swift: String {
        #if swift(>=6.4)
            "6.4 or newer"
        #elseif swift(>=6.3)
            "6.3"
        #else
            "6.2"
        #endif
    }

    package var value: OutputValue {
        var object = OutputObject([
            "kaml": .string(Self.kaml), "storeFormat": .count(StoreConfiguration.formatVersion),
            "kernel": .string(HostFacts.kernelRelease()),
        ])
        for library in libraries { object[library.name] = .string(library.version) }
        return object.value
    }

    package func render() -> String {
        var text = "kaml \(Self.kaml) (store format \(StoreConfiguration.formatVersion))\n"
        for library in libraries { text += "\(library.name) \(library.version)\n" }
        return text + "kernel \(HostFacts.kernelRelease())\n"
    }
}
