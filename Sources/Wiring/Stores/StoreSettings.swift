import Glibc
package import S3
import System

/// What a command line says about how stores are reached, beside their URLs.
package struct StoreSettings: Hashable, Sendable {
    package var s3: S3Settings
    /// Certificates to trust instead of the system's, in PEM.
    package var caFile: String?
    /// `http://host:port`, perhaps with a user and a password. Nil for what the environment says.
    package var proxy: Secret?

    package init(s3: S3Settings = S3Settings(), caFile: String? = nil, proxy: String? = nil) {
        self.s3 = s3
        self.caFile = caFile
        self.proxy = proxy.map { Secret($0) }
    }
}

extension S3Environment {
    /// This process's own.
    package static let process = S3Environment { name in
        guard let value = unsafe getenv(name) else { return nil }
        return unsafe String(cString: value)
    }
}
