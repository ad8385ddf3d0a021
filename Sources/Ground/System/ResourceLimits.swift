import CKamlSys

/// What the kernel lets this process hold.
package enum ResourceLimits {
    /// Raises the soft limit of open descriptors to the hard one: each container of a cache holds two or three,
    /// and the usual soft limit of 1024 would be spent after 30 GB of small files. Returns the limit in force, or
    /// nil when it could not be read.
    @discardableResult
    package static func raiseDescriptors() -> Int64? {
        let limit = kaml_raise_descriptor_limit()
        return limit < 0 ? nil : limit
    }
}
