import CLibFuzzer
import Glibc
import RecordIndex
import System

/// `kaml-fuzz PARSER [libFuzzer's arguments]`: one executable for all parsers, so that it is linked once.
/// `kaml-fuzz seeds DIRECTORY` writes well-formed objects for each of them.
@main
struct KamlFuzz {
    typealias Callback = @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt

    static let parsers: [String: Callback] = [
        "shard": { fuzzShard($0, $1) }, "root": { fuzzRoot($0, $1) }, "pack": { fuzzPack($0, $1) },
        "log": { fuzzLog($0, $1) }, "records": { fuzzRecords($0, $1) }, "names": { fuzzNames($0, $1) },
        "listing": { fuzzListing($0, $1) }, "tfrecord": { fuzzRecordFile(.tfrecord, $0, $1) },
        "tar": { fuzzRecordFile(.tar, $0, $1) }, "jsonl": { fuzzRecordFile(.jsonl, $0, $1) },
        "index": { fuzzIndex($0, $1) },
    ]

    static func main() throws {
        if CommandLine.arguments.count == 3, CommandLine.arguments[1] == "seeds" {
            return try Seeds.write(to: ByteString(CommandLine.arguments[2]))
        }
        guard CommandLine.arguments.count > 1, let parser = parsers[CommandLine.arguments[1]] else {
            print("usage: kaml-fuzz \(parsers.keys.sorted().joined(separator: "|")) [libFuzzer's arguments]")
            exit(2)
        }
        // libFuzzer must not see the parser's name, which it would take for a corpus.
        var arguments = CommandLine.unsafeArgv
        arguments[1] = arguments[0]
        arguments += 1
        var count = CommandLine.argc - 1
        var vector: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = arguments
        exit(LLVMFuzzerRunDriver(&count, &vector, parser))
    }
}

/// Never called: libFuzzer's own main function, which is linked but not used, refers to it.
@_cdecl("LLVMFuzzerTestOneInput")
public func unusedFuzzerEntry(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt { 0 }
