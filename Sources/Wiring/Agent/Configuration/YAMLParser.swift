import CLibYAML

/// Parses one YAML document with libyaml. Without anchors and aliases, which would let a small file grow without
/// bound, and which no configuration of ours needs.
@safe struct YAMLParser: ~Copyable {
    /// Groups in groups.
    private static let deepest = 16

    private let parser: UnsafeMutablePointer<yaml_parser_t>
    private let text: UnsafeMutableBufferPointer<UInt8>

    static func parse(_ bytes: [UInt8]) throws(YAMLError) -> YAMLNode {
        var parser = YAMLParser(bytes)
        return try parser.document()
    }

    private init(_ bytes: [UInt8]) {
        unsafe parser = .allocate(capacity: 1)
        unsafe text = .allocate(capacity: max(1, bytes.count))
        for (index, byte) in bytes.enumerated() { unsafe text[index] = byte }
        unsafe parser.initialize(to: yaml_parser_t())
        unsafe yaml_parser_initialize(parser)
        unsafe yaml_parser_set_input_string(parser, text.baseAddress, bytes.count)
    }

    deinit {
        unsafe yaml_parser_delete(parser)
        unsafe parser.deallocate()
        unsafe text.deallocate()
    }

    private enum Event {
        case scalar(String, isPlain: Bool)
        case sequenceStart, sequenceEnd, mappingStart, mappingEnd
        case documentStart, documentEnd, streamEnd, other
    }

    private mutating func document() throws(YAMLError) -> YAMLNode {
        var root: YAMLNode?
        while true {
            let (event, place) = try next()
            switch event {
            case .streamEnd: return root ?? YAMLNode(place: TextPlace(line: 1, column: 1), content: .empty)
            case .documentStart:
                guard root == nil else {
                    throw YAMLError(place: place, message: "a second document begins here; leave one")
                }
            case .documentEnd, .other: continue
            default: root = try node(event, place, depth: 0)
            }
        }
    }

    private mutating func node(_ event: Event, _ place: TextPlace, depth: Int) throws(YAMLError) -> YAMLNode {
        guard depth < Self.deepest else { throw YAMLError(place: place, message: "nested too deeply") }
        switch event {
        case .scalar(let text, let isPlain):
            let isEmpty = isPlain && ["", "~", "null", "Null", "NULL"].contains(text)
            return YAMLNode(place: place, content: isEmpty ? .empty : .scalar(text))
        case .sequenceStart:
            var items: [YAMLNode] = []
            while true {
                let (event, place) = try next()
                if case .sequenceEnd = event { break }
                items.append(try node(event, place, depth: depth + 1))
            }
            return YAMLNode(place: place, content: .sequence(items))
        case .mappingStart:
            var entries: [YAMLNode.Entry] = []
            while true {
                let (event, keyPlace) = try next()
                if case .mappingEnd = event { break }
                guard case .scalar(let key, _) = event else {
                    throw YAMLError(place: keyPlace, message: "a key is a word")
                }
                let (valueEvent, valuePlace) = try next()
                let value = try node(valueEvent, valuePlace, depth: depth + 1)
                entries.append(YAMLNode.Entry(key: key, place: keyPlace, value: value))
            }
            return YAMLNode(place: place, content: .mapping(entries))
        default: throw YAMLError(place: place, message: "this is no YAML that is understood")
        }
    }

    private mutating func next() throws(YAMLError) -> (Event, TextPlace) {
        var event = unsafe yaml_event_t()
        guard unsafe yaml_parser_parse(parser, &event) == 1 else { throw failure() }
        defer { unsafe yaml_event_delete(&event) }
        let place = unsafe Self.place(event.start_mark)
        switch unsafe event.type {
        case YAML_SCALAR_EVENT:
            let scalar = unsafe event.data.scalar
            guard unsafe scalar.anchor == nil else { throw Self.anchor(place) }
            let bytes = unsafe UnsafeBufferPointer(start: scalar.value, count: scalar.length)
            guard let text = unsafe String(validating: bytes, as: UTF8.self) else {
                throw YAMLError(place: place, message: "this is no UTF-8")
            }
            return unsafe (.scalar(text, isPlain: scalar.style == YAML_PLAIN_SCALAR_STYLE), place)
        case YAML_ALIAS_EVENT: throw Self.anchor(place)
        case YAML_SEQUENCE_START_EVENT:
            guard unsafe event.data.sequence_start.anchor == nil else { throw Self.anchor(place) }
            return (.sequenceStart, place)
        case YAML_SEQUENCE_END_EVENT: return (.sequenceEnd, place)
        case YAML_MAPPING_START_EVENT:
            guard unsafe event.data.mapping_start.anchor == nil else { throw Self.anchor(place) }
            return (.mappingStart, place)
        case YAML_MAPPING_END_EVENT: return (.mappingEnd, place)
        case YAML_DOCUMENT_START_EVENT: return (.documentStart, place)
        case YAML_DOCUMENT_END_EVENT: return (.documentEnd, place)
        case YAML_STREAM_END_EVENT: return (.streamEnd, place)
        default: return (.other, place)
        }
    }

    private func failure() -> YAMLError {
        let mark = unsafe parser.pointee.problem_mark
        let problem = unsafe parser.pointee.problem.map { unsafe String(cString: $0) } ?? "this is no YAML"
        return YAMLError(place: Self.place(mark), message: problem)
    }

    private static func anchor(_ place: TextPlace) -> YAMLError {
        YAMLError(place: place, message: "anchors and aliases (& and *) are not taken; write the value out")
    }

    private static func place(_ mark: yaml_mark_t) -> TextPlace {
        TextPlace(line: Int(clamping: mark.line) + 1, column: Int(clamping: mark.column) + 1)
    }
}
