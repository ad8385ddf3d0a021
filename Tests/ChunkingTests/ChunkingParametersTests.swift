import Chunking
import Testing

@Suite struct ChunkingParametersTests {
    private var standard: [String: Int] {
        Dictionary(uniqueKeysWithValues: ChunkingParameters.standard.fields.map { ($0.name, $0.value) })
    }

    @Test func fieldsReadBack() throws {
        #expect(try ChunkingParameters(fields: standard) == .standard)
        #expect(standard["cdcAverage"] == 262_144)
    }

    @Test func badFieldsAreRefused() {
        for name in standard.keys {
            var fields = standard
            fields[name] = nil
            #expect(throws: ChunkingParametersError.missing(name)) { try ChunkingParameters(fields: fields) }
            for value in [Int.min, -1, 0, (16 << 20) + 1, .max] {
                fields[name] = value
                #expect(throws: ChunkingParametersError.self) { try ChunkingParameters(fields: fields) }
            }
        }
        var fields = standard
        fields["cdcSeed"] = 1
        #expect(throws: ChunkingParametersError.unknown("cdcSeed")) { try ChunkingParameters(fields: fields) }
        #expect(ContentDefinedSizes(minimum: 64, average: 300, maximum: 1000) == nil)
        #expect(ContentDefinedSizes(minimum: 63, average: 256, maximum: 1000) == nil)
        #expect(ContentDefinedSizes(minimum: 64, average: 256, maximum: 255) == nil)
    }

    @Test func kindsHaveTheirNumbers() {
        #expect(ChunkerKind.allCases.map(\.rawValue) == [0, 1, 2, 3])
    }
}
