/// The numbers that decide every cut. Part of a store (`store.json`), fixed when the store is made: two
/// writers with different numbers would store everything twice.
package struct ChunkingParameters: Sendable, Hashable {
    /// Files up to this many bytes are one chunk.
    package let wholeLimit: Int
    /// Bytes of a FIXED chunk; the last one of a file may be shorter.
    package let fixedSize: Int
    package let cdc: ContentDefinedSizes
    package let record: ContentDefinedSizes

    package static let standard = ChunkingParameters()

    private init() {
        wholeLimit = 1 << 20
        fixedSize = 1 << 20
        cdc = .standard
        record = .standard
    }

    /// The largest size that any field may have. Bounds what a writer buffers and a reader decodes, whatever
    /// `store.json` says.
    package static let sizeLimit = 16 << 20

    /// The longest chunk that any chunker makes.
    package var maximumChunk: Int {
        Swift.max(Swift.max(wholeLimit, fixedSize), Swift.max(cdc.maximum, record.maximum))
    }
}

/// The bounds of a chunker that looks at content, in bytes: 64 <= minimum <= average <= maximum.
package struct ContentDefinedSizes: Sendable, Hashable {
    package let minimum: Int
    /// The point around which cut sizes gather; a power of two.
    package let average: Int
    package let maximum: Int

    package static let standard = ContentDefinedSizes(
        uncheckedMinimum: 64 << 10, average: 256 << 10, maximum: 1 << 20)

    private init(uncheckedMinimum: Int, average: Int, maximum: Int) {
        minimum = uncheckedMinimum
        self.average = average
        self.maximum = maximum
    }

    /// Nil when the sizes break the rules above or pass `ChunkingParameters.sizeLimit`.
    package init?(minimum: Int, average: Int, maximum: Int) {
        guard minimum >= 64, minimum <= average, average <= maximum, average & (average - 1) == 0,
            average >= 256, maximum <= ChunkingParameters.sizeLimit
        else { return nil }
        self.init(uncheckedMinimum: minimum, average: average, maximum: maximum)
    }
}

/// Why parameters read from a store are refused.
package enum ChunkingParametersError: Error, Hashable, Sendable, CustomStringConvertible {
    case missing(String)
    case unknown(String)
    case outOfRange(String)

    package var description: String {
        switch self {
        case .missing(let field): "chunker parameter \(field) is missing"
        case .unknown(let field): "chunker parameter \(field) is not known to this version"
        case .outOfRange(let field): "chunker parameter \(field) is out of range"
        }
    }
}

extension ChunkingParameters {
    /// The parameters as flat fields in a fixed order: the form in `store.json`, where they are the members
    /// of one object with integer values.
    package var fields: [(name: String, value: Int)] {
        [
            ("wholeLimit", wholeLimit),
            ("fixedSize", fixedSize),
            ("cdcMinimum", cdc.minimum),
            ("cdcAverage", cdc.average),
            ("cdcMaximum", cdc.maximum),
            ("recordMinimum", record.minimum),
            ("recordAverage", record.average),
            ("recordMaximum", record.maximum),
        ]
    }

    /// Reads what `fields` wrote. Every field must be there, and no other: a field that this version does not
    /// know would change cuts.
    package init(fields: [String: Int]) throws(ChunkingParametersError) {
        func field(_ name: String) throws(ChunkingParametersError) -> Int {
            guard let value = fields[name] else { throw .missing(name) }
            return value
        }
        func size(_ name: String) throws(ChunkingParametersError) -> Int {
            let value = try field(name)
            guard value >= 1, value <= Self.sizeLimit else { throw .outOfRange(name) }
            return value
        }
        func sizes(_ prefix: String) throws(ChunkingParametersError) -> ContentDefinedSizes {
            let sizes = ContentDefinedSizes(
                minimum: try field(prefix + "Minimum"), average: try field(prefix + "Average"),
                maximum: try field(prefix + "Maximum"))
            guard let sizes else { throw .outOfRange(prefix) }
            return sizes
        }
        wholeLimit = try size("wholeLimit")
        fixedSize = try size("fixedSize")
        cdc = try sizes("cdc")
        record = try sizes("record")
        let known = Set(Self.standard.fields.map(\.name))
        if let stranger = fields.keys.filter({ !known.contains($0) }).min() { throw .unknown(stranger) }
    }
}
