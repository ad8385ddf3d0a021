import CCrypto
import Chunking
import Glibc
import System
import Testing

@Suite("Generated protobuf code")
struct GeneratedCodeTests {
    private static let root: ByteString = {
        // This file is Tests/KamlProtosTests/<name>.
        let parts = #filePath.split(separator: "/").dropLast(3)
        return ByteString("/" + parts.joined(separator: "/"))
    }()

    private static let generated: ByteString = "Sources/Ground/KamlProtos/Generated"

    @Test("is what `make proto` makes of the .proto files that are here")
    func isCurrent() throws {
        let text = String(decoding: try Self.read(Self.generated.appending("CURRENT")), as: UTF8.self)
        var listed: Set<String> = []
        for line in text.split(separator: "\n") {
            // As sha256sum writes it: the hash, two blanks, the name.
            let hash = line.prefix(64)
            let name = String(line.dropFirst(66))
            listed.insert(name)
            let bytes = try Self.read(ByteString(name))
            #expect(hash == Hex.encode(Self.sha256(bytes)), "\(name) changed; run `make proto`")
        }
        let present =
            try Self.files(below: "proto", ".proto") + Self.files(below: Self.generated, ".pb.swift")
        #expect(listed == Set(present), "files came or went; run `make proto`")
    }

    private static func files(below folder: ByteString, _ suffix: String) throws -> [String] {
        try HostFileSystem().list(root.appending(folder)).flatMap { entry in
            let path = folder.appending(entry.name)
            if Int(entry.type) == Int(DT_DIR) { return try files(below: path, suffix) }
            return path.description.hasSuffix(suffix) ? [path.description] : []
        }
    }

    private static func read(_ relative: ByteString) throws -> [UInt8] {
        let files = HostFileSystem()
        let file = try files.open(root.appending(relative), O_RDONLY)
        var bytes = [UInt8](repeating: 0, count: Int(try files.status(of: file).size))
        let count = try bytes.withUnsafeMutableBytes { try files.read(file, into: $0, at: 0) }
        return Array(bytes.prefix(count))
    }

    /// Without the tag that `ContentHash` puts before an object's bytes.
    private static func sha256(_ bytes: [UInt8]) -> [UInt8] {
        var hash = [UInt8](repeating: 0, count: 32)
        #expect(EVP_Digest(bytes, bytes.count, &hash, nil, EVP_sha256(), nil) == 1)
        return hash
    }
}
