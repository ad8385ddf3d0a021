import DatasetStore
import FuseMount
import KamlCommand
import NodeCache
import ObjectStore
import System
import Testing

@Suite struct FailureTests {
    @Test func theNumbersNeverChange() {
        let numbers = KamlCommand.ExitStatus.allCases.map { ($0.word, $0.rawValue) }
        let expected: [(String, Int32)] = [
            ("ok", 0), ("failure", 1), ("usage", 2), ("notFound", 3), ("conflict", 4), ("damaged", 5),
            ("noSpace", 6),
            ("unavailable", 7), ("unsupported", 8), ("permissionDenied", 9),
        ]
        #expect(numbers.map(\.0) == expected.map(\.0))
        #expect(numbers.map(\.1) == expected.map(\.1))
        for status in KamlCommand.ExitStatus.allCases {
            #expect(KamlCommand.ExitStatus.help.contains("\(status.rawValue)  \(status.meaning)"))
        }
    }

    @Test func textSaysWhatWhyAndWhatToDo() {
        let failure = Failure(
            .damaged, "cannot read it", why: "its hash is wrong", hint: "run `kaml check`", dataset: "d",
            path: "a\u{1B}b")
        #expect(
            failure.text == """
                error: cannot read it
                  dataset: d
                  path: a\u{FFFD}b
                  because: its hash is wrong
                hint: run `kaml check`

                """)
    }

    @Test func jsonHasTheSameInFields() {
        let failure = Failure(.notFound, "no", hint: "look", object: "packs/x")
        #expect(
            failure.value == [
                "error": [
                    "code": "notFound", "exitCode": 3, "message": "no", "hint": "look", "object": "packs/x",
                ]
            ])
    }

    @Test func aStoresErrorIsTakenApart() {
        let failure = Failure(
            ObjectStoreError(.unavailable, .read, key: "store.json", location: "file:///s", cause: .stale))
        #expect(failure.status == .unavailable)
        #expect(failure.what == "cannot read object store.json in file:///s")
        #expect(failure.why?.hasPrefix("the store cannot be reached") == true)
        #expect(failure.hint?.hasPrefix("check that the store is mounted") == true)
        #expect(failure.object == "store.json")
    }

    @Test func remediesBecomeHints() {
        let failure = Failure(
            StoreError(.damaged, "the pack is bad", object: "packs/x", remedy: "Run `kaml check`"))
        #expect(failure.hint == "run `kaml check`")
        #expect(failure.status == .damaged)
    }

    @Test(arguments: [
        (ObjectStoreError.Code.notFound, KamlCommand.ExitStatus.notFound), (.truncated, .damaged),
        (.corrupt, .damaged),
        (.noSpace, .noSpace), (.permissionDenied, .permissionDenied), (.unavailable, .unavailable),
        (.notSupported, .unsupported), (.inputOutput, .failure),
    ])
    func statusOfAStore(_ code: ObjectStoreError.Code, _ status: KamlCommand.ExitStatus) {
        #expect(Failure(ObjectStoreError(code, .read, key: "k", location: "l")).status == status)
    }

    @Test func aMistypedNameGetsItsNeighbours() throws {
        let dataset = try #require(DatasetName("imagenet"))
        let failure = Failure(SnapshotReferenceError.noSuchDataset(dataset, close: ["imagenet2"]))
        #expect(failure.status == .notFound)
        #expect(failure.hint == "did you mean imagenet2?")
        let name = Failure(
            SnapshotReferenceError.noSuchName(SnapshotReference(dataset: dataset), close: ["mein"]))
        #expect(name.hint == "did you mean imagenet@mein?")
    }

    @Test func namesThatAreTakenConflictAndNamesThatAreMissingAreNotFound() throws {
        let dataset = try #require(DatasetName("d"))
        #expect(Failure(LogConflict.tagExists(dataset, .main)).status == .conflict)
        #expect(Failure(RecordLogError.conflict(.noSuchBranch(dataset, .main))).status == .notFound)
    }

    @Test func aMountsErrorKeepsItsAdvice() {
        let failure = Failure(MountError("/mnt/x", .missing))
        #expect(failure.status == .notFound)
        #expect(failure.what == "/mnt/x: the mount point does not exist")
        #expect(failure.hint == "create it (mkdir -p)")
    }

    @Test func hintsNameThisCommand() {
        #expect(Failure(MountError("/mnt/x", .dead)).hint?.hasPrefix("`kaml umount /mnt/x`") == true)
        #expect(Failure(MountError("/mnt/x", .notEmpty)).hint?.contains("--allow-non-empty") == true)
        #expect(Failure(CacheError(.inUse, "it is used")).hint?.contains("--cache-dir") == true)
    }

    @Test func aClosedDeviceIsAMatterOfPermissions() {
        let said = "fusermount3: failed to open /dev/fuse: Permission denied"
        for cause in [MountError.Cause.deviceNotPermitted, .helperFailed(message: said)] {
            let failure = Failure(MountError("/mnt/x", cause))
            #expect(failure.status == .permissionDenied)
            #expect(failure.hint?.hasPrefix("chmod 0666 /dev/fuse") == true)
        }
        #expect(Failure(MountError("/mnt/x", .helperFailed(message: "no"))).status == .failure)
    }
}
