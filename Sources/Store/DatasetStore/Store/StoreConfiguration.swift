package import Chunking
package import System

import FoundationEssentials

/// What `store.json` says: made once with the store, never changed.
package struct StoreConfiguration: Hashable, Sendable {
    /// The newest format that this program reads and writes.
    package static let formatVersion = 1
    /// Required feature of a store whose server has no conditional writes: a writer looks first and writes then, and
    /// whoever writes must be the only one. A program that does not know it must not even try.
    package static let singleWriterFeature = "single-writer"
    /// Required features that this program knows.
    static let knownFeatures: Set<String> = [singleWriterFeature]
    static let hashName = "sha256"
    /// Bytes of a `store.json` that is believed to be one.
    static let maximumBytes = 64 << 10

    package var formatVersion: Int
    /// 32 hexadecimal digits; tells stores apart whatever URL they are reached by.
    package var storeID: String
    package var hash: String
    /// Features that a program must know to read the store at all.
    package var requiredFeatures: [String]
    package var optionalFeatures: [String]
    package var chunking: ChunkingParameters
    /// The name of the gear table that content-defined cuts hang on.
    package var gear: String

    /// A configuration for a new store.
    package init(
        random: some RandomSource, chunking: ChunkingParameters = .standard, isSingleWriter: Bool = false
    ) {
        formatVersion = Self.formatVersion
        storeID = Hex.encode(random.bytes(16))
        hash = Self.hashName
        requiredFeatures = isSingleWriter ? [Self.singleWriterFeature] : []
        optionalFeatures = []
        self.chunking = chunking
        gear = GearTable.name
    }
}

extension StoreConfiguration {
    /// Whether two writers at once are not safe in this store.
    package var isSingleWriter: Bool { requiredFeatures.contains(Self.singleWriterFeature) }

    /// The members that every version has. Read first, so that a newer store is told from a damaged one.
    private struct Head: Decodable {
        var formatVersion: Int
        var requiredFeatures: [String]?
    }

    private struct Body: Codable {
        var formatVersion: Int
        var storeID: String
        var hash: String
        var requiredFeatures: [String]
        var optionalFeatures: [String]?
        var chunking: Chunking

        struct Chunking: Codable {
            var gear: String
            var parameters: [String: Int]
        }
    }

    /// `store.json`'s bytes.
    func encoded() throws(StoreError) -> [UInt8] {
        let parameters = Dictionary(chunking.fields.map { ($0.name, $0.value) }, uniquingKeysWith: { $1 })
        let body = Body(
            formatVersion: formatVersion, storeID: storeID, hash: hash, requiredFeatures: requiredFeatures,
            optionalFeatures: optionalFeatures, chunking: .init(gear: gear, parameters: parameters))
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted]
        do {
            return Array(try encoder.encode(body)) + [UInt8(ascii: "\n")]
        } catch {
            throw StoreError(.invalidInput, "the store's configuration cannot be written", cause: error)
        }
    }

    /// Throws `.unsupported` for a store that needs a newer program, `.damaged` for bytes that are no
    /// configuration.
    init(decoding bytes: [UInt8], key: String) throws(StoreError) {
        func damaged(_ what: String, _ cause: (any Error)? = nil) -> StoreError {
            StoreError(
                .damaged, "the store's configuration \(what)", object: key, cause: cause,
                remedy: "Restore it from a copy of the store")
        }
        let data = Data(bytes)
        let head: Head
        // The decoder's own words are for programmers.
        do { head = try JSONDecoder().decode(Head.self, from: data) } catch {
            throw damaged("is not the JSON that it was written as")
        }
        guard head.formatVersion <= Self.formatVersion else {
            throw StoreError(
                .unsupported,
                "the store has format version \(head.formatVersion), this kaml reads \(Self.formatVersion)",
                object: key, remedy: "Update kaml")
        }
        let unknown = (head.requiredFeatures ?? []).filter { !Self.knownFeatures.contains($0) }
        guard unknown.isEmpty else {
            throw StoreError(
                .unsupported, "the store needs features that this kaml does not know: \(unknown.sorted())",
                object: key, remedy: "Update kaml")
        }
        let body: Body
        do { body = try JSONDecoder().decode(Body.self, from: data) } catch {
            throw damaged("lacks a member that this version has, or has one of another type")
        }
        guard head.formatVersion > 0 else { throw damaged("has format version \(head.formatVersion)") }
        guard Hex.decode(body.storeID)?.count == 16 else { throw damaged("has no valid store id") }
        guard body.hash == Self.hashName, body.chunking.gear == GearTable.name else {
            throw StoreError(
                .unsupported, "the store uses hash \(body.hash) and gear table \(body.chunking.gear)",
                object: key, remedy: "Update kaml")
        }
        do throws(ChunkingParametersError) {
            chunking = try ChunkingParameters(fields: body.chunking.parameters)
        } catch { throw damaged("is not usable", error) }
        guard chunking.maximumChunk <= Int(PackFormat.limits.plainLength) else {
            throw damaged("allows chunks longer than the format does")
        }
        formatVersion = body.formatVersion
        storeID = body.storeID
        hash = body.hash
        requiredFeatures = body.requiredFeatures
        optionalFeatures = body.optionalFeatures ?? []
        gear = body.chunking.gear
    }
}
