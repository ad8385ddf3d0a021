import DatasetStore
import KamlTestSupport
import ObjectStore
import Testing

@Suite struct StoreTests {
    private func replace(_ objects: MemoryObjectStore, _ text: String) throws {
        try objects.delete(Store.configurationKey)
        _ = try objects.createIfAbsent(Store.configurationKey, Array(text.utf8))
    }

    private func text(_ objects: MemoryObjectStore) throws -> String {
        String(decoding: try objects.readAll(Store.configurationKey, limit: 1 << 20), as: UTF8.self)
    }

    @Test func whatIsCreatedOpensAsItWas() throws {
        let objects = MemoryObjectStore()
        let made = try Store.create(at: objects)
        #expect(try Store.open(objects).configuration == made.configuration)
        #expect(made.configuration.storeID.utf8.count == 32)
    }

    @Test func aSecondStoreInOnePlaceIsRefused() throws {
        let objects = MemoryObjectStore()
        let made = try Store.create(at: objects)
        let error = #expect(throws: StoreError.self) { try Store.create(at: objects) }
        #expect(error?.code == .conflict)
        #expect(try Store.open(objects).configuration == made.configuration)
    }

    @Test func aMissingStoreSaysHowToMakeOne() throws {
        let error = #expect(throws: StoreError.self) { try Store.open(MemoryObjectStore()) }
        #expect(error?.code == .notFound)
        #expect(error?.remedy?.contains("kaml store init") == true)
    }

    @Test func newerVersionsAndFeaturesAreRefused() throws {
        let objects = MemoryObjectStore()
        _ = try Store.create(at: objects)
        let good = try text(objects)
        let changes = [
            ("\"formatVersion\" : 1", "\"formatVersion\" : 2"),
            ("\"requiredFeatures\" : [\n\n  ]", "\"requiredFeatures\" : [\"erasure\"]"),
            ("sha256", "blake3"),
            ("kaml gear v1", "kaml gear v2"),
        ]
        for (from, to) in changes {
            let parts = good.split(separator: from, omittingEmptySubsequences: false)
            #expect(parts.count == 2, "\(from) in \(good)")
            try replace(objects, parts.joined(separator: to))
            let error = #expect(throws: StoreError.self) { try Store.open(objects) }
            #expect(error?.code == .unsupported, "\(from)")
        }
        // A newer store may have other members; its version is still what is told.
        try replace(objects, "{\"formatVersion\": 9, \"shape\": \"round\"}")
        #expect(#expect(throws: StoreError.self) { try Store.open(objects) }?.code == .unsupported)
    }

    @Test func nonsenseIsDamage() throws {
        let objects = MemoryObjectStore()
        _ = try Store.create(at: objects)
        let good = try text(objects)
        for bad in [
            "", "{", "[]", "{\"formatVersion\": \"x\"}", "{\"formatVersion\": 1}",
            good.replacing("fixedSize", "f"),
        ] {
            try replace(objects, bad)
            let error = #expect(throws: StoreError.self) { try Store.open(objects) }
            #expect(error?.code == .damaged, "\(bad)")
        }
    }
}

extension String {
    fileprivate func replacing(_ from: String, _ to: String) -> String {
        split(separator: from, omittingEmptySubsequences: false).joined(separator: to)
    }
}
