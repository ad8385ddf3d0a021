import Glibc
import HTTPExchange
import ObjectStore
import S3
import System

/// Which sources a snapshot may send this process to.
///
/// A snapshot is data that somebody else may have written. What it names gets this process's credentials, or its
/// right to read files; so it may name only the endpoint that the user chose by naming the store, AWS itself, and what
/// the user lists. Files it may name where nobody else could have written it: from a directory that is this user's, or
/// root's, alone.
struct SourceRule: Sendable {
    static let variable = "KAML_SOURCES"

    let store: ObjectStoreURL
    /// Nil when the store is on AWS or in a directory.
    let storeEndpoint: HTTPOrigin?
    /// As whom this process runs.
    let userID: UInt32
    /// URLs, separated by commas; each allows itself and what lies below it.
    let listed: [String]
    /// What a listed bucket means that names no endpoint of its own: this process's.
    let settings: S3Settings

    init(
        store: ObjectStoreURL, storeEndpoint: HTTPOrigin?, userID: UInt32, listed: String?,
        settings: S3Settings = S3Settings()
    ) {
        self.settings = settings
        self.store = store
        self.storeEndpoint = storeEndpoint
        self.userID = userID
        self.listed = (listed ?? "").split(separator: ",").map(String.init)
    }

    /// Throws `.permissionDenied`, with the words that allow the source.
    func check(_ source: ObjectStoreURL) throws(ObjectStoreError) {
        if isListed(source) { return }
        switch source {
        case .directory:
            guard case .directory(let directory) = store else {
                throw refusal(source, "its files lie on this machine, and the store does not")
            }
            if let flaw = flaw(of: directory) {
                throw refusal(source, flaw, "or keep others from writing into the store with `chmod go-w`")
            }
        case .bucket(let text):
            let endpoint: HTTPOrigin?
            do throws(ObjectStoreURLError) { endpoint = try S3Location(text, S3Settings()).endpoint } catch {
                throw ObjectStoreError(
                    .invalidKey, .open, key: "", location: "a source", detail: error.reason)
            }
            guard let endpoint, endpoint != storeEndpoint else { return }
            throw refusal(source, "its server \(endpoint) is not the store's")
        }
    }

    /// Why others may have written what lies in a store's directory; nil where they cannot.
    private func flaw(of directory: ByteString) -> String? {
        let status: FileStatus
        do throws(Errno) {
            status = try FileDescriptor.open(directory, O_RDONLY | O_DIRECTORY).status()
        } catch {
            return "who may write into the store's directory cannot be seen (\(error))"
        }
        guard status.userID == userID || status.userID == 0 else {
            return "the store's directory belongs to another user"
        }
        guard status.mode & UInt32(S_IWGRP | S_IWOTH) == 0 else {
            return "others than its owner may write into the store's directory"
        }
        return nil
    }

    private func isListed(_ source: ObjectStoreURL) -> Bool {
        guard let source = Self.place(source) else { return false }
        return listed.contains { text in
            guard let url = try? ObjectStoreURL(text), let allowed = Self.place(url, settings) else {
                return false
            }
            return allowed.server == source.server && (allowed.bucket ?? source.bucket) == source.bucket
                && (source.path + "/").hasPrefix(
                    allowed.path.hasSuffix("/") ? allowed.path : allowed.path + "/")
        }
    }

    private struct Place {
        var server: HTTPOrigin?
        var bucket: String?
        var path: String
    }

    /// Nil for what is no source; a path with `..` could leave what is allowed.
    private static func place(_ url: ObjectStoreURL, _ settings: S3Settings = S3Settings()) -> Place? {
        switch url {
        case .directory(let path):
            let text = path.description
            guard !text.split(separator: "/").contains("..") else { return nil }
            return Place(server: nil, bucket: "", path: text)
        case .bucket(let text):
            guard let location = try? S3Location(text, settings) else { return nil }
            return Place(
                server: location.endpoint ?? S3Location.awsOrigin(S3Location.defaultRegion),
                bucket: location.bucket, path: "/" + location.prefix.description)
        }
    }

    private func refusal(
        _ source: ObjectStoreURL, _ why: String, _ otherwise: String? = nil
    ) -> ObjectStoreError {
        ObjectStoreError(
            .permissionDenied, .open, key: "", location: "\(source)",
            detail: "the snapshot was imported from there, but \(why)",
            advice: "if you trust it, allow it with \(Self.variable)='\(source)'"
                + (otherwise.map { ", \($0)" } ?? ""))
    }
}

/// Sources by the URL that a snapshot tells.
final class CheckedSources: ObjectSources {
    private let opener: StoreOpener
    private let rule: SourceRule

    init(_ opener: StoreOpener, _ rule: SourceRule) {
        self.opener = opener
        self.rule = rule
    }

    func source(_ location: String) throws(ObjectStoreError) -> any ObjectSource {
        let url: ObjectStoreURL
        // Relative paths mean nothing here.
        do throws(ObjectStoreURLError) { url = try ObjectStoreURL(location, workingDirectory: "/") } catch {
            throw ObjectStoreError(.invalidKey, .open, key: "", location: "a source", detail: error.reason)
        }
        try rule.check(url)
        do throws(StoreOpeningError) {
            guard case .bucket(let text) = url else { return try opener.openSource(url) }
            return try opener.openSource(at: try Self.bucket(text))
        } catch {
            throw ObjectStoreError(.notSupported, .open, key: "", location: location, detail: "\(error)")
        }
    }

    /// The URL says all: what this process has set for its own store must not lead it elsewhere.
    private static func bucket(_ text: String) throws(StoreOpeningError) -> S3Location {
        do throws(ObjectStoreURLError) { return try S3Location(text, S3Settings()) } catch {
            throw .url(error)
        }
    }
}
