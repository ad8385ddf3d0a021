import HTTPExchange
package import ObjectStore
package import System

extension S3ObjectStore {
    package func list(
        _ prefix: String, after: String?, _ body: (ObjectInfo) throws(ObjectStoreError) -> Bool
    ) throws(ObjectStoreError) {
        let start = after ?? ""
        try bucket.list(prefix.utf8, after: start.utf8) { object throws(ObjectStoreError) in
            // What is no key of ours is none of our objects.
            guard let text = String(validating: object.key.bytes, as: UTF8.self), let key = ObjectKey(text),
                start.isEmpty || text > start
            else { return true }
            return try body(ObjectInfo(key: key, size: object.size, modified: object.modified))
        }
    }
}

extension S3Bucket {
    /// Calls `body` for each object whose key, below the location's prefix, begins with `prefix`, in key order, until it
    /// returns false. `after`: where to begin, empty for the start.
    func list(
        _ prefix: some Sequence<UInt8>, after: some Collection<UInt8>,
        _ body: (ListPage.Object) throws(ObjectStoreError) -> Bool
    ) throws(ObjectStoreError) {
        var query = [
            ("encoding-type", "url"), ("list-type", "2"),
            ("prefix", PercentCoding.encode(place.prefix.bytes + Array(prefix))),
        ]
        if !after.isEmpty {
            query.append(("start-after", PercentCoding.encode(place.prefix.bytes + Array(after))))
        }
        var progress = ListProgress(place.prefix.bytes + Array(prefix))
        var token: String?
        repeat {
            let page = try page(
                query + (token.map { [("continuation-token", PercentCoding.encode($0.utf8))] } ?? []))
            guard try hand(page, &progress, body) else { return }
            token = page.isTruncated ? page.continuationToken : nil
            if page.isTruncated { try check { () throws(XMLError) in try progress.goesOn(token) } }
        } while token != nil
    }

    /// The same over the newest versions of a bucket that keeps old ones.
    func listVersions(
        _ prefix: [UInt8], _ body: (ListPage.Object) throws(ObjectStoreError) -> Bool
    ) throws(ObjectStoreError) {
        let query = [
            ("encoding-type", "url"), ("prefix", PercentCoding.encode(place.prefix.bytes + prefix)),
            ("versions", ""),
        ]
        var progress = ListProgress(place.prefix.bytes + prefix)
        var marker: [(String, String)] = []
        repeat {
            var page = try page(query + marker)
            page.objects.removeAll { !$0.isLatest }
            guard try hand(page, &progress, body) else { return }
            guard page.isTruncated else { return }
            let key = page.nextKey.map { PercentCoding.encode($0.bytes) }
            let version = page.nextVersion.map { PercentCoding.encode($0.utf8) }
            try check { () throws(XMLError) in
                try progress.goesOn(key.map { "\($0) \(version ?? "")" })
            }
            marker = [("key-marker", key ?? "")] + (version.map { [("version-id-marker", $0)] } ?? [])
        } while true
    }

    private func page(_ query: [(String, String)]) throws(ObjectStoreError) -> ListPage {
        let text = query.sorted { $0.0 < $1.0 }.map { $1.isEmpty ? $0 : "\($0)=\($1)" }.joined(separator: "&")
        do throws(S3Failure) {
            let bytes = try document(bucketRequest(.get, query: text), limit: ListPage.maximumBytes)
            return try parsed { () throws(XMLError) in try ListPage(bytes) }
        } catch {
            throw error.error(.list, "", place)
        }
    }

    /// Without the location's prefix.
    private func hand(
        _ page: ListPage, _ progress: inout ListProgress,
        _ body: (ListPage.Object) throws(ObjectStoreError) -> Bool
    ) throws(ObjectStoreError) -> Bool {
        for var object in page.objects {
            try check { () throws(XMLError) in try progress.has(object.key) }
            object.key = ByteString(Array(object.key.bytes.dropFirst(place.prefix.count)))
            guard try body(object) else { return false }
        }
        return true
    }

    private func check(_ body: () throws(XMLError) -> Void) throws(ObjectStoreError) {
        do throws(XMLError) { try body() } catch {
            throw S3Failure.malformed(error.description).error(.list, "", place)
        }
    }
}

/// Whether the pages of a listing make sense one after the other: without it a server that repeats itself would be listed
/// for ever.
struct ListProgress {
    private let prefix: [UInt8]
    private var last: ByteString?
    private var lastToken: String?
    private var hasMoved = false
    private var emptyPages = 0

    /// Pages in a row that may be without an object.
    private static let maximumEmptyPages = 1000

    init(_ prefix: [UInt8]) { self.prefix = prefix }

    mutating func has(_ key: ByteString) throws(XMLError) {
        guard key.bytes.starts(with: prefix) else {
            throw XMLError("a listing has a key that was not asked for")
        }
        if let last, last >= key { throw XMLError("the keys of a listing do not rise") }
        last = key
        hasMoved = true
    }

    /// A page says that it is not the last one.
    mutating func goesOn(_ token: String?) throws(XMLError) {
        guard let token else { throw XMLError("a listing goes on and does not say where") }
        guard token != lastToken else { throw XMLError("a listing goes on where it was before") }
        lastToken = token
        // Pages may be empty, such as those of deleted versions.
        emptyPages = hasMoved ? 0 : emptyPages + 1
        hasMoved = false
        guard emptyPages < Self.maximumEmptyPages else { throw XMLError("a listing goes on without objects") }
    }
}

extension S3ObjectStore {
    /// The first object below the prefix, whatever its key; nil where there is none.
    package func firstForeignKey() throws(ObjectStoreError) -> ByteString? {
        var first: ByteString?
        try bucket.list([], after: []) { object throws(ObjectStoreError) in
            // The mark that some tools make for an empty folder.
            guard !object.key.isEmpty else { return true }
            first = object.key
            return false
        }
        return first
    }
}
