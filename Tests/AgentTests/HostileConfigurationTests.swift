import KamlTestSupport
import System
import Testing

@testable import Agent

@Suite("A hostile configuration")
struct HostileConfigurationTests {
    private static let text = AgentConfiguration(defaultsFor: ConfigurationTests.host).rendered()

    @Test("is told what is wrong with it, whatever bytes it has, and never ends the agent")
    func anyBytes() {
        let seed = SeededRandom.explorationSeed()
        var random = SplitMix64(seed: seed)
        let good = Array(Self.text.utf8)
        for _ in 0..<1500 {
            var bytes = good
            for _ in 0..<(1 + random.next() % 8) {
                let place = Int(random.next() % UInt64(bytes.count))
                switch random.next() % 4 {
                case 0: bytes[place] = UInt8(truncatingIfNeeded: random.next())
                case 1: bytes.removeSubrange(place..<min(bytes.count, place + Int(random.next() % 200)))
                case 2: bytes.insert(contentsOf: random.bytes(Int(random.next() % 20)), at: place)
                default:
                    let words = [
                        "- ", "{", "[", "&a ", "*a", "!!int ", "? ", "|\n", "\u{0}", "\t",
                        "99999999999999999999",
                    ]
                    bytes.insert(contentsOf: Array(words[Int(random.next() % 11)].utf8), at: place)
                }
                if bytes.isEmpty { bytes = [0x20] }
            }
            do throws(ConfigurationProblems) {
                let read = try ConfigurationReader.read(
                    file: (name: "k", bytes: bytes), flags: [], host: ConfigurationTests.host,
                    secretFile: { _ in nil })
                // What is taken is shown as it was meant.
                let again = try ConfigurationReader.read(
                    file: (name: "k", bytes: Array(read.rendered().utf8)), flags: [],
                    host: ConfigurationTests.host, secretFile: { _ in nil })
                #expect(again == read, "seed \(seed)")
            } catch { #expect(!error.list.isEmpty, "seed \(seed)") }
        }
    }
}
