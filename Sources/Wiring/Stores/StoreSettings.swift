import Glibc
package import S3
import System

/// What a command line says about how stores are reached, beside their URLs.
package struct StoreSettings: Hashable, Sendable {
    package var s3: S3Settings
    /// Certificates to trust instead of the system's, in PEM.
    package var caFile: String?
    /// Seconds that a request waits for a store that is away. Nil for what `KAML_S3_PATIENCE` says, else 30.
    package var patience: Int?
    /// `http://host:port`, perhaps with a user and a password. Nil for what the environment says.
    package var proxy: Secret?

    /// What `patience` may be: an hour at the most.
    package static let patienceRange = 1...3600

    package init(
        s3: S3Settings = S3Settings(), caFile: String? = nil, proxy: String? = nil, patience: Int? = nil
    ) {
        self.s3 = s3
        self.caFile = caFile
        self.patience = patience
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
