import Glibc
package import System

/// What is looked at before a cache is opened: a mistyped --cache-dir must not fill somebody's directory.
package enum CacheDirectoryCheck {
    /// Makes the directory when it is not there. Throws where it cannot hold a cache, or holds something else.
    package static func prepare(_ directory: ByteString) throws {
        let files = HostFileSystem()
        let hint = "name another one with --cache-dir"
        // By way of "/." a symlink to a directory counts as one.
        do throws(Errno) { _ = try files.status(of: directory.appending(".")) } catch {
            if (try? files.status(of: directory)) != nil {
                throw Failure(
                    error == .accessDenied ? .permissionDenied : .conflict,
                    "the cache directory \(directory) cannot be used", why: "\(error)", hint: hint)
            }
            do throws(Errno) { try files.makeDirectories(directory, mode: 0o700) } catch {
                throw Failure("cannot make the cache directory \(directory)", error, hint: hint)
            }
        }
        guard unsafe directory.withCString({ unsafe access($0, R_OK | W_OK | X_OK) }) == 0 else {
            throw Failure("the cache directory \(directory) cannot be written", Errno.last, hint: hint)
        }
        let names: [ByteString]
        do throws(Errno) { names = try files.list(directory).map(\.name) } catch {
            throw Failure("cannot list the cache directory \(directory)", error, hint: hint)
        }
        guard let foreign = foreign(names) else { return }
        throw Failure(
            .conflict, "the directory \(directory) is not empty and holds no cache",
            why: "it has \(foreign) and no VERSION",
            hint: "name an empty or a new directory with --cache-dir")
    }

    /// A name that no cache has, where no VERSION says that this is one.
    static func foreign(_ names: [ByteString]) -> ByteString? {
        if names.contains("VERSION") { return nil }
        // What a cache begins with, since it may have been killed before it wrote its VERSION; logs of mounts that
        // failed; and what a fresh file system has.
        let own: Set<ByteString> = ["lock", "containers", "manifests", "statistics", "aside", "lost+found"]
        return names.sorted().first { name in
            let text = name.description
            return !own.contains(name) && !(text.hasPrefix("mount-") && text.hasSuffix(".log"))
                && !text.hasPrefix("VERSION.")
        }
    }
}
