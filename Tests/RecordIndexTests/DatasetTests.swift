import DatasetStore
import KamlTestSupport
import System
import Testing

@testable import RecordIndex

@Suite struct DatasetTests {
    private func text(_ values: [[UInt8]]) -> [String] { values.map { String(decoding: $0, as: UTF8.self) } }

    @Test("each file is a record, labelled by its topmost directory, in the snapshot's order")
    func files() throws {
        let fixture = try DatasetFixture()
        for path in ["cats/1.jpg", "cats/more/2.jpg", "ants/1.jpg", "dogs/1.jpg", "dogs/2.jpg", "dogs/empty"]
        {
            try fixture.write(ByteString("photos/" + path), path.hasSuffix("empty") ? [] : Array(path.utf8))
        }
        try fixture.link("photos/ants/1.jpg", "photos/dogs/linked.jpg")
        try fixture.symlink("1.jpg", "photos/dogs/soft.jpg")
        let snapshot = try fixture.commit()
        let index = try fixture.index(snapshot)
        #expect(index.format == .files && index.columns.map(\.name) == ["record", "label", "path"])
        #expect(index.labelNames == ["ants", "cats", "dogs"])
        let found = try (0..<index.records).map { record in
            (try snapshot.path(ofOrdinal: index.file(Int(record)).ordinal).description, index.label(record))
        }
        #expect(
            found.map(\.0) == [
                "photos/ants/1.jpg", "photos/cats/1.jpg", "photos/cats/more/2.jpg", "photos/dogs/1.jpg",
                "photos/dogs/2.jpg", "photos/dogs/empty", "photos/dogs/linked.jpg",
            ])
        #expect(found.map(\.1) == [0, 1, 1, 2, 2, 2, 2])
        #expect(
            try text(fixture.values(index, snapshot)) == [
                "ants/1.jpg", "cats/1.jpg", "cats/more/2.jpg", "dogs/1.jpg", "dogs/2.jpg", "", "ants/1.jpg",
            ])
        #expect(index.label(index.records) == -1 && index.place(index.records) == nil)
    }

    @Test(
        "paths and patterns select files",
        arguments: [
            ([], ["a.bin", "train/cat/1.bin", "train/cat/2.txt", "train/dog/1.bin", "val/1.bin"], []),
            (["train"], ["train/cat/1.bin", "train/cat/2.txt", "train/dog/1.bin"], ["cat", "dog"]),
            (
                ["/train/cat/", "./val"], ["train/cat/1.bin", "train/cat/2.txt", "val/1.bin"],
                ["train", "val"]
            ),
            (["train/*/1.bin"], ["train/cat/1.bin", "train/dog/1.bin"], ["cat", "dog"]),
            (["*.bin"], ["a.bin"], []),
            (["**.bin"], ["a.bin", "train/cat/1.bin", "train/dog/1.bin", "val/1.bin"], ["train", "val"]),
            (["train/c?t"], ["train/cat/1.bin", "train/cat/2.txt"], ["cat"]),
            (["**/dog"], ["train/dog/1.bin"], []),
            (["a.bin"], ["a.bin"], []),
        ] as [([String], [String], [String])])
    func selection(_ paths: [String], _ expected: [String], _ labels: [String]) throws {
        let fixture = try DatasetFixture()
        for path in ["a.bin", "train/cat/1.bin", "train/cat/2.txt", "train/dog/1.bin", "val/1.bin"] {
            try fixture.write(ByteString(path), Array(path.utf8))
        }
        let snapshot = try fixture.commit()
        let index = try fixture.index(snapshot, RecordSelection(paths: paths.map { ByteString($0) }))
        #expect(try text(fixture.values(index, snapshot)).sorted() == expected)
        if !labels.isEmpty { #expect(index.labelNames.map(\.description) == labels) }
    }

    @Test("the names of the files tell the format, by where most bytes lie")
    func formats() throws {
        let fixture = try DatasetFixture()
        try fixture.write("README.md", Array("read me".utf8))
        try fixture.write(
            "x/a.tfrecord-00000-of-00002",
            randomRecords(3, longest: 90, seed: 1).flatMap(frame) + frame([1, 2]))
        try fixture.write("x/b.TFRecords.gz", deflate(frame([7]), gzip: true))
        try fixture.write("y/meta.jsonl", Array("{}\n".utf8))
        try fixture.write("y/big.bin", [UInt8](repeating: 1, count: 5_000))
        let snapshot = try fixture.commit()
        #expect(try fixture.index(snapshot, RecordSelection(paths: ["x"])).records == 5)
        #expect(try fixture.index(snapshot, RecordSelection(paths: ["x", "README.md"])).format == .tfrecord)
        let files = try fixture.index(snapshot, RecordSelection(paths: ["y"]))
        #expect(files.format == .files && files.records == 1)
        #expect(try fixture.index(snapshot, RecordSelection(format: .jsonl)).records == 1)
        #expect(try fixture.index(snapshot, RecordSelection(format: .files)).records == 5)
        let error = #expect(throws: RecordIndexError.self) {
            try fixture.index(snapshot, RecordSelection(paths: ["y"], format: .tfrecord))
        }
        #expect(error?.code == .damaged && error?.path == "y/big.bin" && error?.remedy != nil)
    }

    @Test("Parquet is refused in words, unless whole files are asked for")
    func parquet() throws {
        let fixture = try DatasetFixture()
        try fixture.write("a.parquet", [UInt8](repeating: 1, count: 100))
        try fixture.write("README", [1])
        let snapshot = try fixture.commit()
        let error = #expect(throws: RecordIndexError.self) { try fixture.index(snapshot) }
        #expect(error?.code == .unsupported && error?.remedy?.contains("files") == true)
        #expect(try fixture.index(snapshot, RecordSelection(format: .files)).records == 2)
    }

    @Test("records of a fixed length, after a header")
    func fixed() throws {
        let fixture = try DatasetFixture()
        try fixture.write("a", [0, 0, 1, 2, 3, 4, 5, 6])
        try fixture.write("b", [])
        try fixture.write("c", [9, 9, 7, 8, 9])
        let snapshot = try fixture.commit()
        let selection = try RecordSelection(format: .fixed, recordBytes: 3, headerBytes: 2)
        let index = try fixture.index(snapshot, selection)
        #expect(index.columns == [RecordColumn(name: "record", source: .file, width: 3)])
        #expect(try fixture.values(index, snapshot) == [[1, 2, 3], [4, 5, 6], [7, 8, 9]])
        #expect(index.file(1).records == 2..<2 && index.file(2).records == 2..<3)
        let error = #expect(throws: RecordIndexError.self) {
            try fixture.index(snapshot, RecordSelection(format: .fixed, recordBytes: 4, headerBytes: 2))
        }
        #expect(error?.code == .damaged && (error?.path == "a" || error?.path == "c"))
    }

    @Test("tars of different columns are one dataset, whose records lack what they have not")
    func tars() throws {
        let fixture = try DatasetFixture()
        try fixture.write("0.tar", member("a.jpg", [1]) + member("a.cls", [2]) + endOfTar)
        try fixture.write(
            "1.tgz", deflate(member("b.json", [3]) + member("b.jpg", [4, 4]) + endOfTar, gzip: true))
        let snapshot = try fixture.commit()
        let index = try fixture.index(snapshot)
        #expect(index.columns.map(\.name) == ["__key__", "cls", "jpg", "json"])
        #expect(try fixture.values(index, snapshot, column: 1) == [[2], []])
        #expect(try fixture.values(index, snapshot, column: 2) == [[1], [4, 4]])
        #expect(try fixture.values(index, snapshot, column: 3) == [[], [3]])
        #expect(index.withKey(1) { Array($0) } == Array("b".utf8))
        #expect(index.place(0, column: 4) == nil && index.place(0, column: -1) == nil)
    }

    @Test("nothing to feed is an error that says what to do")
    func nothing() throws {
        let fixture = try DatasetFixture()
        let empty = try fixture.commit()
        #expect(#expect(throws: RecordIndexError.self) { try fixture.index(empty) }?.code == .notFound)
        try fixture.write("a.tfrecord", [])
        let snapshot = try fixture.commit()
        #expect(try fixture.index(snapshot).records == 0)
        let error = #expect(throws: RecordIndexError.self) {
            try fixture.index(snapshot, RecordSelection(paths: ["none"]))
        }
        #expect(error?.code == .notFound && error?.path == "none" && error?.remedy != nil)
    }

    @Test("a selection that cannot be is refused")
    func refusals() {
        func code(_ make: () throws(RecordIndexError) -> RecordSelection) -> RecordIndexError.Code? {
            do throws(RecordIndexError) { _ = try make() } catch { return error.code }
            return nil
        }
        #expect(
            code { () throws(RecordIndexError) in try RecordSelection(paths: ["a/../b"]) } == .invalidInput)
        #expect(
            code { () throws(RecordIndexError) in try RecordSelection(paths: [ByteString([0])]) }
                == .invalidInput)
        #expect(
            code { () throws(RecordIndexError) in
                try RecordSelection(paths: (0...RecordSelection.mostPaths).map { ByteString("\($0)") })
            } == .invalidInput)
        #expect(code { () throws(RecordIndexError) in try RecordSelection(format: .fixed) } == .invalidInput)
        #expect(
            code { () throws(RecordIndexError) in try RecordSelection(format: .tar, recordBytes: 1) }
                == .invalidInput)
        #expect(code { () throws(RecordIndexError) in try RecordSelection(paths: ["a", "/"]) } == nil)
    }
}
