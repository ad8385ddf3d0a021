import System

/// The statistics as `key value` lines, so that people and tools can read them without the agent.
enum StatisticsFile {
    private static let title = "kaml-cache-statistics 1"

    static func encode(_ statistics: CacheStatistics) -> [UInt8] {
        var text = title + "\n"
        for (name, path) in fields { text += "\(name) \(statistics[keyPath: path])\n" }
        return Array(text.utf8)
    }

    /// Unknown keys are skipped, missing ones are 0; a file that is no statistics gives zeros.
    static func decode(_ bytes: [UInt8]) -> CacheStatistics {
        var statistics = CacheStatistics()
        let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n")
        guard lines.first == title[...] else { return statistics }
        for line in lines.dropFirst() {
            let words = line.split(separator: " ")
            guard words.count == 2, let value = UInt64(words[1]) else { continue }
            for (name, path) in fields where words[0] == name[...] { statistics[keyPath: path] = value }
        }
        return statistics
    }

    static func read(_ layout: CacheLayout, _ files: any FileSystem) -> CacheStatistics {
        guard let bytes = try? readFile(layout.statistics, limit: 4096, files) else {
            return CacheStatistics()
        }
        return decode(bytes)
    }

    /// What lies in `containers`: map files, and real blocks of all files.
    static func usage(_ layout: CacheLayout, _ files: any FileSystem) -> (containers: UInt64, bytes: UInt64) {
        var containers: UInt64 = 0
        var blocks: UInt64 = 0
        func add(_ folder: ByteString) {
            for entry in (try? files.list(folder)) ?? [] {
                let path = folder.appending(entry.name)
                guard let status = try? files.status(of: path), status.kind == .regular else { continue }
                blocks &+= status.blocks
                if CacheLayout.packID(ofMap: entry.name) != nil { containers += 1 }
            }
        }
        for folder in (try? files.list(layout.containers)) ?? [] {
            add(layout.containers.appending(folder.name))
        }
        add(layout.manifests)
        return (containers, blocks &* 512)
    }

    private static var fields: [(String, WritableKeyPath<CacheStatistics, UInt64>)] {
        [
            ("fetched_bytes", \.fetchedBytes), ("fetch_requests", \.fetchRequests),
            ("manifest_bytes", \.manifestBytes), ("filled_bytes", \.filledBytes),
            ("verified_chunks", \.verifiedChunks), ("failed_chunks", \.failedChunks),
            ("rechecked_chunks", \.recheckedChunks), ("rejected_chunks", \.rejectedChunks),
            ("read_throughs", \.readThroughs), ("evicted_containers", \.evictedContainers),
            ("evicted_bytes", \.evictedBytes), ("scrubbed_bytes", \.scrubbedBytes),
            ("scrub_bad_chunks", \.scrubBadChunks), ("scrub_passes", \.scrubPasses),
            ("complete_containers", \.completeContainers),
        ]
    }
}
