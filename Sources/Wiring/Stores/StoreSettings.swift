import Glibc
package import S3
package import System

/// What a command line says about how stores are reached, beside their URLs.
package struct StoreSettings: Hashable, Sendable {
    package var s3: S3Settings
    /// Certificates to trust instead of the system's, in PEM.
    package var caFile: ByteString?
    /// `http://host:port`. Nil for what the environment says.
    package var proxy: String?

    package init(s3: S3Settings = S3Settings(), caFile: ByteString? = nil, proxy: String? = nil) {
        self.s3 = s3
        self.caFile = caFile
        self.proxy = proxy
    }
}

extension S3Environment {
    /// This process's own.
    package static let process = S3Environment { name in
        guard let value = unsafe getenv(name) else { return nil }
        return unsafe String(cString: value)
    }
}
