package import ObjectStore
package import System

/// One page of a listing.
package struct ListPage: Hashable, Sendable {
    package struct Object: Hashable, Sendable {
        package var key: ByteString = ""
        package var size: UInt64 = 0
        package var modified = Timestamp(seconds: 0, nanoseconds: 0)
        package var version = ObjectVersion(tag: "")
        /// False for an old version.
        package var isLatest = true
        /// `GLACIER` and the like; empty for what can be read at once.
        package var storageClass = ""
    }

    package var objects: [Object] = []
    package var isTruncated = false
    /// What the next page is asked for with, as the server gave it.
    package var continuationToken: String?
    /// The same for a listing of versions.
    package var nextKey: ByteString?
    package var nextVersion: String?

    /// Bytes of one page. A thousand objects with the longest keys, encoded, stay below.
    static let maximumBytes = 16 << 20

    /// `ListBucketResult` or `ListVersionsResult`. Throws for anything else.
    package init(_ bytes: [UInt8]) throws(XMLError) {
        var isEncoded = false
        var object = Object()
        var page = ListPage()
        let root = try XMLElements.walk(bytes) { path, step throws(XMLError) in
            guard path.count > 1 else { return }
            switch (path.count, path[1], step) {
            case (2, "Contents", .begins), (2, "Version", .begins): object = Object()
            case (2, "Contents", .ends), (2, "Version", .ends): page.objects.append(object)
            case (3, "Contents", .ends(let text)), (3, "Version", .ends(let text)):
                try Self.set(path[2], text, of: &object)
            case (2, let name, .ends(let text)):
                if name == "EncodingType" { isEncoded = text.elementsEqual("url".utf8) }
                try page.set(name, text)
            default: break
            }
        }
        guard root == "ListBucketResult" || root == "ListVersionsResult" else {
            throw XMLError("it is no listing but <\(root)>")
        }
        if isEncoded { try page.decodeKeys() }
        self = page
    }

    private init() {}

    private mutating func set(_ name: String, _ text: [UInt8]) throws(XMLError) {
        switch name {
        case "IsTruncated": isTruncated = try Self.truth(text)
        case "NextContinuationToken":
            continuationToken = text.isEmpty ? nil : String(decoding: text, as: UTF8.self)
        case "NextKeyMarker": nextKey = text.isEmpty ? nil : ByteString(text)
        case "NextVersionIdMarker": nextVersion = text.isEmpty ? nil : String(decoding: text, as: UTF8.self)
        default: break
        }
    }

    private static func set(_ name: String, _ text: [UInt8], of object: inout Object) throws(XMLError) {
        switch name {
        case "Key": object.key = ByteString(text)
        case "Size":
            guard !text.isEmpty, text.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
                let size = UInt64(String(decoding: text, as: UTF8.self)), size <= UInt64(Int64.max)
            else { throw XMLError("an object has no size that could be one") }
            object.size = size
        case "LastModified":
            guard let (time, nanoseconds) = CivilTime.parseISO(text) else {
                throw XMLError("an object has no time that could be one")
            }
            object.modified = Timestamp(seconds: time.secondsSinceEpoch, nanoseconds: nanoseconds)
        case "ETag": object.version.tag = EntityTag.unquoted(String(decoding: text, as: UTF8.self))
        case "VersionId": object.version.id = text.isEmpty ? nil : String(decoding: text, as: UTF8.self)
        case "IsLatest": object.isLatest = try truth(text)
        case "StorageClass": object.storageClass = String(decoding: text, as: UTF8.self)
        default: break
        }
    }

    private static func truth(_ text: [UInt8]) throws(XMLError) -> Bool {
        switch String(decoding: text, as: UTF8.self) {
        case "true": return true
        case "false": return false
        default: throw XMLError("neither true nor false")
        }
    }

    private mutating func decodeKeys() throws(XMLError) {
        func decoded(_ key: ByteString) throws(XMLError) -> ByteString {
            guard let bytes = PercentCoding.decode(key.bytes, plusIsSpace: true) else {
                throw XMLError("a key is not encoded as it says")
            }
            return ByteString(bytes)
        }
        for index in objects.indices { objects[index].key = try decoded(objects[index].key) }
        if let key = nextKey { nextKey = try decoded(key) }
    }
}

/// Entity tags as headers and listings quote them.
enum EntityTag {
    static func unquoted(_ tag: String) -> String {
        let bytes = tag.utf8
        guard bytes.count >= 2, bytes.first == UInt8(ascii: "\""), bytes.last == UInt8(ascii: "\"") else {
            return tag
        }
        return String(tag.dropFirst().dropLast())
    }
}
