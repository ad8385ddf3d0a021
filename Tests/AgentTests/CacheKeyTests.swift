import Glibc
import KamlTestSupport
import NodeCache
import System
import Testing

@testable import Agent

@Suite("The key of an encrypted cache")
struct CacheKeyTests {
    let home: TemporaryDirectory
    private static let hex = String(repeating: "0123456789abcdef", count: 4)

    init() throws { home = try TemporaryDirectory() }

    private func file(_ name: ByteString, _ text: String, mode: UInt32 = 0o600) throws -> ByteString {
        let path = home.path.appending(name)
        let file = try FileDescriptor.open(path, O_WRONLY | O_CREAT | O_TRUNC, mode: mode)
        try Array(text.utf8).withUnsafeBytes { try file.write($0, at: 0) }
        return path
    }

    private func program(_ text: String, mode: UInt32 = 0o700) throws -> ByteString {
        try file("program", "#!/bin/sh\n\(text)\n", mode: mode)
    }

    private func failure(_ source: CacheKeySource) -> String {
        do throws(CacheError) {
            _ = try source.load()
            return "none"
        } catch {
            #expect(error.code == .unusable)
            // Whatever is wrong, nothing of a key is in what is said.
            #expect(!error.description.contains("0123456789abcdef"))
            return error.description
        }
    }

    @Test("is none where none is named")
    func none() throws {
        #expect(try CacheKeySource().load() == nil)
    }

    @Test("comes from a file of its owner, and former ones from further files")
    func files() throws {
        let first = try file("a", Self.hex + "\n")
        let second = try file("b", String(Self.hex.reversed()))
        let keys = try CacheKeySource(file: first, formerFiles: [second]).load()
        #expect(keys?.former.count == 1)
        #expect(try CacheKeySource(file: second, formerFiles: [first]).load() != keys)
        #expect(try CacheKeySource(file: first, formerFiles: [second]).load() == keys)
    }

    @Test("is refused from a file that others read, that is away, or that holds no key")
    func refused() throws {
        let open = try file("open", Self.hex, mode: 0o644)
        #expect(failure(CacheKeySource(file: open)).contains("chmod 0600"))
        #expect(failure(CacheKeySource(file: "/nonexistent")).contains("cannot be read"))
        let short = try file("short", String(Self.hex.dropLast()))
        #expect(failure(CacheKeySource(file: short)).contains("is no key"))
        let good = try file("good", Self.hex)
        #expect(failure(CacheKeySource(file: good, formerFiles: [open])).contains("formerKeyFiles"))
    }

    @Test("comes from a program's output")
    func program() throws {
        let command = try program("echo \(Self.hex)")
        let named = try file("a", Self.hex)
        #expect(try CacheKeySource(command: command).load() == CacheKeySource(file: named).load())
    }

    @Test(
        "is refused from a program that fails, says too much, or no key, and nothing it said is told",
        arguments: [
            ("echo \(hex); exit 3", "failed"), ("yes 0123456789abcdef", "more than 4096 bytes"),
            ("echo 0123456789abcdef", "is no key"), (":", "is no key"),
        ])
    func badProgram(_ text: String, _ expected: String) throws {
        #expect(failure(CacheKeySource(command: try program(text))).contains(expected))
    }

    @Test("is refused from a program that others may change, and from what is none")
    func foreignProgram() throws {
        let writable = try program("echo \(Self.hex)")
        #expect(writable.withCString { chmod($0, 0o722) } == 0)
        #expect(failure(CacheKeySource(command: writable)).contains("could be changed by others"))
        #expect(failure(CacheKeySource(command: try file("text", Self.hex))).contains("is no program"))
    }

    @Test("is not waited for longer than it may take, whatever the program leaves behind")
    func slowProgram() throws {
        for text in ["sleep 100", "echo \(Self.hex); exec >&-; sleep 100"] {
            let start = HostClock().monotonicNanoseconds()
            #expect(throws: CacheError.self) { try KeyCommand(try program(text), patience: 1).run() }
            #expect(HostClock().monotonicNanoseconds() - start < 20_000_000_000)
        }
    }

    @Test("cannot be named twice, nor a former one without one of today")
    func settings() {
        #expect(
            ConfigurationTests.problems("cache: {keyFile: /a, keyCommand: /b}").contains {
                $0.contains("not from both")
            })
        #expect(
            ConfigurationTests.problems("cache: {formerKeyFiles: \"/a:/b\"}").contains {
                $0.contains("nothing is encrypted")
            })
        #expect(ConfigurationTests.problems("cache: {keyFile: a}") != [])
        #expect(ConfigurationTests.problems("cache: {keyFile: /a, formerKeyFiles: \"/b:/c\"}") == [])
    }
}
