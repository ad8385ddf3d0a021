package import Chunking
package import ObjectStore

/// Manifest objects in a store: verified when read, compressed when written.
///
/// A stored object is an envelope of 96 bytes (magic 8, version u16, object kind u8, codec u8, zero u32,
/// plain length u64, zero u64, id 32, base id 32) and a payload. Its name is the hash of the plain image.
package struct ManifestObjects: Sendable {
    package let store: any ObjectStore
    /// Finds a plain image, checked against its name, nearer than the store: bases of differences, where a node has them.
    private let known: (@Sendable (ObjectKind, ContentHash) -> [UInt8]?)?

    package init(
        store: any ObjectStore, known: (@Sendable (ObjectKind, ContentHash) -> [UInt8]?)? = nil
    ) {
        self.store = store
        self.known = known
    }

    /// What was written for an image.
    package struct Stored: Sendable {
        package var id: ContentHash
        /// Bytes the store grew by; 0 when the object was there already.
        package var storedLength: UInt64
    }

    /// The plain image, checked against its name. `length` is what whoever names the image says it has.
    package func image(
        _ kind: ObjectKind, _ id: ContentHash, length: UInt32? = nil
    ) throws(StoreError) -> [UInt8] {
        let object = try envelope(kind, id)
        guard length.map({ Int($0) == object.plainLength }) ?? true else {
            throw damaged(id, "has \(object.plainLength) bytes instead of \(length ?? 0)")
        }
        var base: [UInt8]?
        if object.codec == .zstdPrefix {
            if let known = known?(kind, object.base) {
                base = known
            } else {
                base = try self.base(kind, object.base, of: id)
            }
        }
        return try plain(of: object, kind, id, base: base)
    }

    private func base(
        _ kind: ObjectKind, _ base: ContentHash, of id: ContentHash
    ) throws(StoreError) -> [UInt8] {
        let parent = try envelope(kind, base)
        guard parent.codec != .zstdPrefix else {
            throw damaged(id, "has a base that needs a base itself")
        }
        return try plain(of: parent, kind, base, base: nil)
    }

    /// Stores an image unless it is there. `similar` names an older image of the same kind to store only the
    /// difference from, where that is well below the image's own compressed size.
    package func put(
        _ kind: ObjectKind, _ image: [UInt8], similar: ContentHash? = nil, encoder: inout FrameEncoder
    ) throws(StoreError) -> Stored {
        let id = ContentHash.of(kind, image)
        let key = ManifestFormat.key(of: id)
        do throws(ObjectStoreError) {
            if try store.size(of: key) != nil {
                try store.makeDurable(key)
                return Stored(id: id, storedLength: 0)
            }
        } catch { throw StoreError(error) }
        let base = try similar.flatMap { similar throws(StoreError) in try self.base(kind, for: similar) }
        let object = encode(kind, id, image, base: base, encoder: &encoder)
        do throws(ObjectStoreError) {
            let outcome = try store.createIfAbsent(key, object)
            return Stored(id: id, storedLength: outcome == .created ? UInt64(object.count) : 0)
        } catch { throw StoreError(error) }
    }

    // MARK: - Reading

    struct Envelope {
        var codec: Codec
        var plainLength: Int
        var base: ContentHash
        var bytes: [UInt8]
    }

    func damaged(_ id: ContentHash, _ what: String, cause: (any Error)? = nil) -> StoreError {
        StoreError(
            .damaged, "the manifest object \(what)", object: ManifestFormat.key(of: id).text, cause: cause,
            remedy: "Run `kaml check` to see which snapshots it hurts")
    }

    private func limit(_ kind: ObjectKind) -> UInt64 {
        kind == .manifestRoot ? ManifestFormat.maximumRootLength : ManifestFormat.maximumShardLength
    }

    func envelope(_ kind: ObjectKind, _ id: ContentHash) throws(StoreError) -> Envelope {
        let bytes: [UInt8]
        do throws(ObjectStoreError) {
            bytes = try store.readAll(
                ManifestFormat.key(of: id), limit: Int(limit(kind)) + ManifestFormat.envelopeLength)
        } catch { throw StoreError(error) }
        return try parse(kind, id, bytes)
    }

    func parse(_ kind: ObjectKind, _ id: ContentHash, _ bytes: [UInt8]) throws(StoreError) -> Envelope {
        enum Problem: Error { case damaged(String), version(UInt16) }
        let parsed = unsafe bytes.withUnsafeBytes { raw -> Result<Envelope, Problem> in
            guard raw.count >= ManifestFormat.envelopeLength, let start = raw.baseAddress,
                unsafe raw.startsWith(ManifestFormat.envelopeMagic)
            else { return .failure(.damaged("is not a manifest object")) }
            guard unsafe start.u16(8) == ManifestFormat.version else {
                return unsafe .failure(.version(start.u16(8)))
            }
            guard unsafe start.u8(10) == kind.rawValue else {
                return .failure(.damaged("is of another kind"))
            }
            guard let codec = unsafe Codec(rawValue: start.u8(11)), codec != .reference,
                unsafe ContentHash(loading: start + 32) == id,
                unsafe start.u32(12) == 0, unsafe start.u64(24) == 0, unsafe start.u64(16) > 0,
                unsafe start.u64(16) <= limit(kind),
                unsafe codec == .zstdPrefix || ContentHash(loading: start + 64) == .zero
            else { return .failure(.damaged("has a damaged envelope")) }
            return unsafe .success(
                Envelope(
                    codec: codec, plainLength: Int(start.u64(16)), base: ContentHash(loading: start + 64),
                    bytes: bytes))
        }
        switch parsed {
        case .success(let envelope): return envelope
        case .failure(.damaged(let what)): throw damaged(id, what)
        case .failure(.version(let version)):
            throw StoreError(
                .unsupported, "the manifest object has format version \(version)",
                object: ManifestFormat.key(of: id).text, remedy: "Update kaml")
        }
    }

    func plain(
        of object: Envelope, _ kind: ObjectKind, _ id: ContentHash, base: [UInt8]?
    ) throws(StoreError) -> [UInt8] {
        // Before memory is taken on the envelope's word.
        let payload = UInt64(object.bytes.count - ManifestFormat.envelopeLength)
        let isPossible =
            object.codec == .none
            ? UInt64(object.plainLength) == payload
            : UInt64(object.plainLength) <= payload * ManifestFormat.maximumRatio
        guard isPossible else { throw damaged(id, "is too short for its plain length") }
        var image = [UInt8](repeating: 0, count: object.plainLength)
        let decoded = unsafe image.withUnsafeMutableBytes { image -> Result<Void, CodecError> in
            unsafe object.bytes.withUnsafeBytes { bytes in
                let payload = unsafe UnsafeRawBufferPointer(rebasing: bytes[ManifestFormat.envelopeLength...])
                func decode(_ prefix: UnsafeRawBufferPointer?) -> Result<Void, CodecError> {
                    let decoder = FrameDecoder()
                    do throws(CodecError) {
                        return unsafe .success(
                            try decoder.decode(object.codec, payload, prefix: prefix, into: image))
                    } catch { return .failure(error) }
                }
                guard let base else { return decode(nil) }
                return unsafe base.withUnsafeBytes { unsafe decode($0) }
            }
        }
        if case .failure(let error) = decoded { throw damaged(id, "cannot be decompressed", cause: error) }
        guard ContentHash.of(kind, image) == id else { throw damaged(id, "does not match its name") }
        return image
    }

    // MARK: - Writing

    /// The image to store a difference from: `similar` itself, or its base, since a base needs none itself.
    private func base(
        _ kind: ObjectKind, for similar: ContentHash
    ) throws(StoreError) -> (id: ContentHash, image: [UInt8])? {
        do {
            let object = try envelope(kind, similar)
            let id = object.codec == .zstdPrefix ? object.base : similar
            return (id, try image(kind, id))
        } catch  where error.code == .damaged || error.code == .notFound {
            // Without a base the image is stored whole; `kaml check` is there to report the damage.
            return nil
        }
    }

    private func encode(
        _ kind: ObjectKind, _ id: ContentHash, _ image: [UInt8], base: (id: ContentHash, image: [UInt8])?,
        encoder: inout FrameEncoder
    ) -> [UInt8] {
        var codec = Codec.none
        var payload = image
        unsafe image.withUnsafeBytes { plain in
            if let alone = unsafe encoder.compress(plain) {
                codec = .zstd
                payload = unsafe Array(alone)
            }
            unsafe base?.image.withUnsafeBytes { prefix in
                // A difference costs a second read, so it must be well below the whole.
                if let difference = unsafe encoder.compress(plain, prefix: prefix),
                    difference.count < payload.count / 4 * 3
                {
                    codec = .zstdPrefix
                    payload = unsafe Array(difference)
                }
            }
        }
        var object = ByteBuilder()
        object.reserve(ManifestFormat.envelopeLength + payload.count)
        unsafe object.raw(UnsafeRawBufferPointer(start: ManifestFormat.envelopeMagic.utf8Start, count: 8))
        object.u16(ManifestFormat.version)
        object.u8(kind.rawValue)
        object.u8(codec.rawValue)
        object.u32(0)
        object.u64(UInt64(image.count))
        object.u64(0)
        object.raw(id.bytes)
        object.raw(codec == .zstdPrefix ? (base?.id ?? .zero).bytes : ContentHash.zero.bytes)
        object.raw(payload)
        return object.bytes
    }
}

extension StoreError {
    /// A store's error seen from a dataset.
    package init(_ error: ObjectStoreError) {
        let code: Code =
            switch error.code {
            case .notFound: .notFound
            case .truncated, .tooLarge, .corrupt: .damaged
            case .noSpace: .noSpace
            case .permissionDenied: .permissionDenied
            case .unavailable: .unavailable
            case .changed: .sourceChanged
            case .alreadyExists: .conflict
            case .invalidKey: .invalidInput
            case .inputOutput: .inputOutput
            case .notSupported: .unsupported
            }
        self.init(code, error.description, object: error.key.isEmpty ? nil : error.key)
    }
}
