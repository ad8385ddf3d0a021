import DatasetStore
import Glibc
import KamlCommand
import KamlTestSupport
import ObjectStore
import Synchronization
import System
import Testing

@Suite("Answers that are written as they come")
struct ListedObjectTests {
    private func written(_ format: OutputFormat, _ body: (inout ListedObject) -> Void) -> String {
        let text = Mutex("")
        var object = ListedObject(format) { part in text.withLock { $0 += part } }
        body(&object)
        object.end()
        return text.withLock { $0 }
    }

    private func whole(_ format: OutputFormat, _ value: OutputValue) -> String {
        format == .json ? JSONText.encode(value) : YAMLText.encode(value)
    }

    @Test("read as the same tree written at once", arguments: [OutputFormat.json, .yaml])
    func sameText(_ format: OutputFormat) {
        let elements: [OutputValue] = [
            1, "two words", ["path": "a/b", "nested": ["x": 1, "list": [1, [2, 3], []]]], [], ["k": []],
        ]
        for count in 0...elements.count {
            let list = Array(elements[..<count])
            let text = written(format) { object in
                object.beginList("added")
                for element in list { object.element(element) }
                object.endList()
                object.field("from", ["name": "x"])
                object.beginList("none")
                object.endList()
                object.field("plain", 7)
            }
            let value: OutputValue = ["added": .list(list), "from": ["name": "x"], "none": [], "plain": 7]
            #expect(text == whole(format, value))
        }
        #expect(written(format) { _ in } == whole(format, .object([:])))
    }

    @Test("a diff that does not fit in memory tells the same", arguments: [OutputFormat.json, .yaml])
    func longDiff(_ format: OutputFormat) throws {
        let (source, objects) = (try TemporaryDirectory(), MemoryObjectStore())
        let store = try Store.create(at: objects)
        func write(_ name: String, _ byte: UInt8) throws {
            let path = source.path.appending(ByteString(name))
            let file = try FileDescriptor.open(path, O_WRONLY | O_CREAT | O_TRUNC, mode: 0o644)
            try [UInt8](repeating: byte, count: Int(byte)).withUnsafeBytes { try file.write($0, at: 0) }
        }
        func commit() throws -> Snapshot {
            var options = CommitOptions(dataset: try #require(DatasetName("d")), source: source.path)
            options.usesStatCache = false
            return try store.snapshot(store.commit(options).snapshot)
        }
        for index in 0..<12 { try write("f\(index)", 1) }
        let old = try commit()
        for index in 0..<4 { try write("f\(index)", 2) }
        for index in 4..<8 { try HostFileSystem().unlink(source.path.appending(ByteString("f\(index)"))) }
        for index in 20..<24 { try write("f\(index)", 3) }
        let new = try commit()
        let texts = try [0, 3, 1_000].map { limit in
            let text = Mutex("")
            let report = DiffReport(from: ("old", old.id), to: ("new", new.id), keptLimit: limit)
            try report.write(
                as: format, { body throws(StoreError) in try SnapshotDiff(from: old, to: new).run(body) },
                to: { part in text.withLock { $0 += part } })
            return text.withLock { $0 }
        }
        #expect(texts[0] == texts[2])
        #expect(texts[1] == texts[2])
        #expect(texts[2].contains("f20") && texts[2].contains("f5") && texts[2].contains("f1"))
    }
}
