import Chunking
import CKamlFeed
import CZlib
import System

@testable import RecordIndex

/// Well-formed files of records, plain and compressed, and an index of each.
enum RecordSeeds {
    typealias Seed = (parser: ByteString, name: ByteString, bytes: [UInt8])

    static func all() throws -> [Seed] {
        let files: [(RecordFormat, ByteString, [UInt8])] = [
            (.tfrecord, "tfrecord", frame([]) + frame([1, 2, 3]) + frame(Array(repeating: 7, count: 300))),
            (.tar, "tar", tar), (.jsonl, "jsonl", Array("{}\n\r\n{\"a\": 1}\r\nlast".utf8)),
        ]
        var seeds: [Seed] = []
        for (format, parser, bytes) in files {
            // Cut into pieces of 256 bytes.
            seeds.append((parser, "plain", [255] + bytes))
            seeds.append((parser, "gzip", [255] + compressed(bytes)))
            for (name, content) in [("plain", bytes), ("gzip", compressed(bytes))] as [(ByteString, [UInt8])]
            {
                let image = try content.withUnsafeBytes { try indexed($0, format, pieces: 256) }
                seeds.append(("index", ByteString("\(parser)-\(name)"), image))
            }
        }
        return seeds
    }

    private static func frame(_ record: [UInt8]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(littleEndian: UInt64(record.count))
        bytes.append(littleEndian: CRC32C.masked(CRC32C.checksum(ofWord: UInt64(record.count))))
        let sum = record.withUnsafeBytes { kaml_crc32c(0, $0.baseAddress, $0.count) }
        return bytes + record + withUnsafeBytes(of: CRC32C.masked(sum).littleEndian) { Array($0) }
    }

    private static var tar: [UInt8] {
        member("a.jpg", [1, 2, 3], "0") + member("pax", Array("14 path=b.jpg\n".utf8), "x")
            + member("x", [4], "0")
            + member("././@LongLink", Array("c.jpg\0".utf8), "L") + member("y", [], "0")
            + [UInt8](repeating: 0, count: 1024)
    }

    private static func member(_ name: String, _ data: [UInt8], _ type: Character) -> [UInt8] {
        var block = [UInt8](repeating: 0, count: 512)
        func put(_ text: String, _ offset: Int) {
            block.replaceSubrange(offset..<offset + text.utf8.count, with: text.utf8)
        }
        func octal(_ number: Int, _ digits: Int) -> String {
            let text = String(number, radix: 8)
            return String(repeating: "0", count: digits - text.count) + text
        }
        put(name, 0)
        put(octal(data.count, 11), 124)
        put("        ", 148)
        put(String(type), 156)
        put("ustar\u{0}00", 257)
        put(octal(block.reduce(0) { $0 + Int($1) }, 6) + "\u{0} ", 148)
        return block + data + [UInt8](repeating: 0, count: (512 - data.count % 512) % 512)
    }

    private static func compressed(_ bytes: [UInt8]) -> [UInt8] {
        var stream = z_stream()
        var (input, output) = (bytes, [UInt8](repeating: 0, count: bytes.count + 1024))
        let count = input.withUnsafeMutableBufferPointer { input in
            output.withUnsafeMutableBufferPointer { output in
                deflateInit2_(
                    &stream, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY, ZLIB_VERSION,
                    Int32(MemoryLayout<z_stream>.size))
                (stream.next_in, stream.avail_in) = (input.baseAddress, UInt32(input.count))
                (stream.next_out, stream.avail_out) = (output.baseAddress, UInt32(output.count))
                deflate(&stream, Z_FINISH)
                deflateEnd(&stream)
                return output.count - Int(stream.avail_out)
            }
        }
        return Array(output[..<count])
    }
}
