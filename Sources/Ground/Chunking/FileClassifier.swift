package import System

/// Picks a file's chunker from its size, its name and its first bytes.
///
/// The choice is recorded in the manifest, so these rules may get better without a new format; a file whose
/// choice changes is stored once more, so they should not change lightly.
package struct FileClassifier: Sendable {
    private let wholeLimit: UInt64

    /// How much of a file's start `classify` wants to see.
    package static let headSize = 64 << 10

    package init(_ parameters: ChunkingParameters) {
        wholeLimit = UInt64(parameters.wholeLimit)
    }

    /// - Parameters:
    ///   - size: bytes of the file.
    ///   - name: the file's name; the directory before it does not matter.
    ///   - head: the first `headSize` bytes, or the whole file if it is shorter. With no bytes the name decides.
    package func classify(size: UInt64, name: ByteString, head: UnsafeRawBufferPointer) -> ChunkerKind {
        if size <= wholeLimit { return .whole }
        return unsafe Self.format(name: name, head: head).chunker
    }

    /// Content goes before the name: shards of every format are called `x-00001-of-00128`, TensorFlow
    /// checkpoints and compressed TFRecords among them.
    package static func format(name: ByteString, head: UnsafeRawBufferPointer) -> FileFormat {
        for magic in FileFormat.magics where unsafe has(magic.bytes, in: head, at: magic.offset) {
            return magic.format
        }
        if unsafe RecordFraming.recordLength(in: head, at: 0) != nil { return .tfrecord }
        if unsafe isSafetensors(head) { return .tensors }
        if let format = named(name), unsafe !(format == .tfrecord && isDeflated(head)) { return format }
        return unsafe isText(head) ? .text : .unknown
    }

    private static func has(_ magic: [UInt8], in head: UnsafeRawBufferPointer, at offset: Int) -> Bool {
        guard offset + magic.count <= head.count else { return false }
        for (index, byte) in magic.enumerated() where unsafe head[offset + index] != byte { return false }
        return true
    }

    /// The format that the name's ending tells, with or without a shard number after it.
    private static func named(_ name: ByteString) -> FileFormat? {
        let stem = withoutShardNumber(name.bytes[...])
        return FileFormat.suffixes.first { hasSuffix(stem, $0.suffix.bytes) }?.format
    }

    /// Compares without regard to the case of ASCII letters; `suffix` is in lower case.
    private static func hasSuffix(_ name: ArraySlice<UInt8>, _ suffix: [UInt8]) -> Bool {
        guard name.count >= suffix.count else { return false }
        return zip(name.suffix(suffix.count), suffix).allSatisfy { lowercased($0) == $1 }
    }

    private static func lowercased(_ byte: UInt8) -> UInt8 {
        byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "Z") ? byte | 0x20 : byte
    }

    /// `train.tfrecord-00001-of-00128` without `-00001-of-00128`.
    private static func withoutShardNumber(_ name: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        func withoutDigits(_ name: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
            let digits = name.reversed().prefix { $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }.count
            return digits > 0 ? name.dropLast(digits) : nil
        }
        let separator = Array("-of-".utf8)
        guard let total = withoutDigits(name), hasSuffix(total, separator),
            let shard = withoutDigits(total.dropLast(separator.count)), hasSuffix(shard, [UInt8(ascii: "-")])
        else { return name }
        return shard.dropLast()
    }

    /// A u64 header length, then a JSON object. The header alone can fill the head and look like text.
    private static func isSafetensors(_ head: UnsafeRawBufferPointer) -> Bool {
        guard head.count >= 10 else { return false }
        let length = unsafe UInt64(littleEndian: head.loadUnaligned(as: UInt64.self))
        return unsafe length <= 100_000_000 && head[8] == UInt8(ascii: "{") && head[9] == UInt8(ascii: "\"")
    }

    /// The two bytes that start a zlib stream, which TensorFlow writes for compression type ZLIB.
    private static func isDeflated(_ head: UnsafeRawBufferPointer) -> Bool {
        guard head.count >= 2, unsafe head[0] == 0x78 else { return false }
        return unsafe (UInt16(head[0]) << 8 | UInt16(head[1])) % 31 == 0
    }

    /// At least nine bytes in ten are printable: ASCII, white space, or shaped like UTF-8.
    private static func isText(_ head: UnsafeRawBufferPointer) -> Bool {
        guard unsafe !head.isEmpty else { return false }
        var printable = 0
        var index = 0
        while index < head.count {
            let width = unsafe printableWidth(head, at: index)
            printable += width
            index += Swift.max(width, 1)
        }
        return printable >= head.count - head.count / 10
    }

    /// The bytes of the printable character at `index`, 0 if there is none.
    private static func printableWidth(_ head: UnsafeRawBufferPointer, at index: Int) -> Int {
        let width =
            switch unsafe head[index] {
            case 0x20...0x7E, 0x09...0x0D: 1
            case 0xC2...0xDF: 2
            case 0xE0...0xEF: 3
            case 0xF0...0xF4: 4
            default: 0
            }
        guard width > 1 else { return width }
        guard width <= head.count - index else { return 0 }
        for next in (index + 1)..<(index + width) where unsafe head[next] & 0xC0 != 0x80 { return 0 }
        return width
    }
}
