import ObjectStore
import System
import Testing

@Suite("Store URLs")
struct ObjectStoreURLTests {
    @Test(
        "name a directory",
        arguments: [
            ("file:///data/store", "/data/store"), ("file:///data/store/", "/data/store"), ("file:///", "/"),
            ("file://localhost/data", "/data"), ("file:///my%20data/100%25", "/my data/100%"),
            ("/data//./store", "/data/store"),
            ("stores/mine", "/home/me/stores/mine"), ("./x", "/home/me/x"), ("../x", "/home/me/../x"),
            ("a:b", "/home/me/a:b"), ("/with%20percent", "/with%20percent"),
        ] as [(String, String)])
    func valid(text: String, path: String) throws {
        let url = try ObjectStoreURL(text, workingDirectory: "/home/me")
        #expect(url == .directory(ByteString(path)))
    }

    @Test(
        "are refused with a reason",
        arguments: [
            "", "gs://bucket/prefix", "file://data/store", "file://", "file:///a%2", "file:///a%zz",
            "file:///a%00b",
        ])
    func invalid(text: String) {
        let error = #expect(throws: ObjectStoreURLError.self) {
            try ObjectStoreURL(text, workingDirectory: "/home/me")
        }
        #expect(error?.description.contains("give file:///") == true)
    }

    @Test("are printed so that they parse to the same place", arguments: ["/a b/ü/100%", "/", "/plain"])
    func roundTrip(path: String) throws {
        let url = ObjectStoreURL.directory(ByteString(path))
        #expect(try ObjectStoreURL(url.description, workingDirectory: "/") == url)
    }
}
