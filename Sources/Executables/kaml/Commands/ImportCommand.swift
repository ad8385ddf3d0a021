import ArgumentParser
import DatasetStore
import KamlCommand
import ObjectStore
import S3
import Stores
import Synchronization
import System

/// `kaml import`.
struct ImportCommand: AnsweringCommand {
    static let configuration = CommandConfiguration(
        commandName: "import", abstract: "Make a snapshot of a bucket or a directory without copying it.",
        discussion: """
              kaml import imagenet s3://bucket/imagenet/ -m "as delivered" --tag v1
              kaml import imagenet s3://bucket/imagenet/               again: only what changed
              kaml import imagenet s3://bucket/imagenet/ --copy        a snapshot that needs the bucket no more
              kaml import faces file:///data/faces

            Only the listing is read: the snapshot refers to the objects, by key, size and ETag or version id. A mount
            reads them from where they are, and keeps them in the node's cache. When an object has changed since, reading
            it from the snapshot fails, and says which object it is; import again to take the bucket as it is now. Where the
            bucket keeps versions, the old one is read. Objects that did not change keep their references, so that caches stay
            warm.

            A key is a path: a/b/c.jpg is the file c.jpg in a/b, byte for byte. Objects that cannot be files are left out,
            counted by reason and shown with examples (-o json lists up to \(KeySample.listed) of each):
              emptySegment         a//b, or a leading slash
              dotSegment           a part that is . or ..
              zeroByte             a zero byte
              nameTooLong          a part of more than 255 bytes
              pathTooLong          more than 4095 bytes in all
              directoryWithBytes   a key that ends in a slash and has bytes; without bytes it makes the directory
              shadowedByDirectory  dir beside dir/x: the directory wins
              listedTwice          the source listed the key more than once
              tooLarge             listed with more than 5 TiB, which no object has
              unidentified         no ETag or version to tell a change by
            Control characters in names are kept, and told. Of a directory tree symlinks and special files are left out.
            """)

    @Argument(help: "The dataset; the first import makes it.", completion: NameCompletion.kind)
    var dataset: String
    @Argument(help: "What to import: s3://bucket/prefix, file:///path or a path.", completion: .directory)
    var source: String
    @Option(name: .shortAndLong, help: "What this version is.")
    var message = ""
    @Option(help: "The branch to commit to; made when it is not there.")
    var branch = "main"
    @Option(help: "Also make this tag.")
    var tag: String?
    @Flag(help: "Read all objects and store them, instead of referring to them.")
    var copy = false
    @Flag(help: "Also when nothing is listed and the branch has files: make the empty snapshot.")
    var allowEmpty = false
    @Option(help: .init("Permissions of files.", valueName: "octal"))
    var fileMode = "644"
    @Option(help: .init("Permissions of directories.", valueName: "octal"))
    var dirMode = "755"
    @Option(help: .init("Owner of everything.", valueName: "number"))
    var uid: UInt32 = 0
    @Option(help: .init("Group of everything.", valueName: "number"))
    var gid: UInt32 = 0
    @Option(help: "Objects read at once with --copy.")
    var threads: Int?
    @OptionGroup var store: StoreOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard threads.map({ (1...256).contains($0) }) ?? true else {
            throw ValidationError("--threads is 1 to 256")
        }
        guard threads == nil || copy else { throw ValidationError("--threads goes with --copy") }
    }

    func run() throws {
        let dataset = try NameArgument.dataset(dataset)
        let branch = try NameArgument.ref(branch, "a branch")
        let tag = try tag.map { try NameArgument.ref($0, "a tag") }
        let url = try ObjectStoreURL(source)
        let place = try StorePlace.url(store.url)
        try checkApart(url, place)
        var options = ImportOptions(
            dataset: dataset, branch: branch, source: try store.opener.openSource(url))
        options.tag = tag
        options.message = message
        options.copies = copy
        options.allowsEmpty = allowEmpty
        options.fileMode = try Self.mode(fileMode, "--file-mode")
        options.directoryMode = try Self.mode(dirMode, "--dir-mode")
        options.userID = uid
        options.groupID = gid
        options.threads = threads
        let latest = LatestImport()
        options.progress = { latest.set($0) }
        let target = try store.openForWriting()
        let result = try ProgressBar.during({ latest.state }) { [options] in
            try target.importObjects(options)
        }
        answer(ImportReport(options, result))
        if !copy { warnIfUnreadable(options.source.location, place) }
    }

    /// The user named the source, a reader is sent there by the snapshot: that is another right.
    private func warnIfUnreadable(_ source: String, _ place: ObjectStoreURL) {
        do {
            _ = try store.opener.sources(for: place).source(source)
        } catch {
            StandardError.write("note: as this process is set up, the snapshot cannot be read: \(error)\n")
        }
    }

    private static func mode(_ text: String, _ option: String) throws -> UInt32 {
        guard let mode = UInt32(text, radix: 8), mode <= 0o777 else {
            throw Failure(.usage, "\(option) is not a mode: \(text)", hint: "give 0 to 777 in octal, as 644")
        }
        return mode
    }

    /// An import of the store itself would grow with each import.
    private func checkApart(_ source: ObjectStoreURL, _ place: ObjectStoreURL) throws {
        let overlap: Bool
        switch (source, place) {
        case (.directory(let source), .directory(let place)):
            overlap = CanonicalPath.contains(source, place) || CanonicalPath.contains(place, source)
        case (.bucket(let source), .bucket(let place)):
            let (left, right) = try (store.opener.location(source), store.opener.location(place))
            let (a, b) = (left.prefix.bytes, right.prefix.bytes)
            overlap =
                left.endpoint == right.endpoint && left.bucket == right.bucket
                && (a.starts(with: b) || b.starts(with: a))
        case (.directory, .bucket), (.bucket, .directory): overlap = false
        }
        if overlap {
            throw Failure(
                .usage, "the source \(source) and the store \(place) lie in each other",
                hint: "keep the store outside of what is imported")
        }
    }
}

/// The newest word of an import, for the bar.
private final class LatestImport: Sendable {
    private let latest = Mutex(ImportProgress())

    func set(_ progress: ImportProgress) { latest.withLock { $0 = progress } }

    var state: ProgressState {
        let now = latest.withLock { $0 }
        let found = "\(CountText.of(now.objects, "object")), \(BytesText.of(now.bytes))"
        guard now.phase == .copying else {
            return ProgressState(label: now.phase.rawValue, done: 0, total: nil, note: found)
        }
        return ProgressState(
            label: "copying", done: now.copiedBytes, total: now.totalBytes > 0 ? now.totalBytes : nil,
            note: found)
    }
}
