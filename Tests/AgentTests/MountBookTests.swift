import FuseSession
import System
import Testing

@testable import Agent

@Suite("The book of a node's mounts")
struct MountBookTests {
    static let now = Timestamp(seconds: 1, nanoseconds: 0)
    static let facts = MountFacts(
        snapshot: "ab", store: "file:///s", profile: .zeroMessageOpen, passesThrough: false, files: 1,
        bytes: 2)

    static func request(_ name: String, at place: ByteString = "/mnt") -> MountRequest {
        MountRequest(reference: name, store: "", mountPoint: place)
    }

    /// One that serves `a` at /mnt as `1`.
    static func serving() -> MountBook {
        var book = MountBook()
        #expect(book.ask(request("a"), limit: 9, newID: "1", now: now) == .start(id: "1"))
        book.didServe("1", facts)
        return book
    }

    @Test("answers with the same mount when the same is asked for at the same place")
    func same() {
        var book = Self.serving()
        #expect(book.ask(Self.request("a"), limit: 9, newID: "2", now: Self.now) == .existing(id: "1"))
    }

    @Test("refuses another snapshot where one is mounted")
    func taken() throws {
        var book = Self.serving()
        let record = try #require(book["1"])
        #expect(book.ask(Self.request("b"), limit: 9, newID: "2", now: Self.now) == .taken(record))
    }

    @Test("holds to its limit, and has room again when a mount ended")
    func limit() {
        var book = Self.serving()
        let other = Self.request("a", at: "/other")
        #expect(book.ask(other, limit: 1, newID: "2", now: Self.now) == .full(limit: 1))
        book.didEnd("1")
        #expect(book.ask(other, limit: 1, newID: "2", now: Self.now) == .start(id: "2"))
    }

    @Test("forgets a mount that failed, so that its place is free")
    func failure() {
        var book = MountBook()
        _ = book.ask(Self.request("a"), limit: 9, newID: "1", now: Self.now)
        book.didFail("1")
        #expect(book.all.isEmpty)
        #expect(book.ask(Self.request("b"), limit: 9, newID: "2", now: Self.now) == .start(id: "2"))
    }

    @Test("does not unmount what is still being mounted")
    func stillMounting() throws {
        var book = MountBook()
        _ = book.ask(Self.request("a"), limit: 9, newID: "1", now: Self.now)
        #expect(book.askUnmount(at: "/mnt") == .stillMounting(try #require(book["1"])))
    }

    @Test("goes back to serving when the kernel says that a mount is busy")
    func busy() throws {
        var book = Self.serving()
        let record = try #require(book["1"])
        #expect(book.askUnmount(at: "/mnt") == .detach(record))
        book.didNotDetach("1")
        #expect(book["1"]?.state == .serving)
        #expect(book.askUnmount(id: "1") == .detach(record))
    }

    @Test("gives the place of a lazily unmounted snapshot away while its files are still open")
    func lazy() throws {
        var book = Self.serving()
        _ = book.askUnmount(at: "/mnt")
        book.didDetach("1")
        #expect(book.askUnmount(at: "/mnt") == .leaving(try #require(book["1"])))
        #expect(book.ask(Self.request("b"), limit: 9, newID: "2", now: Self.now) == .start(id: "2"))
        book.didServe("2", Self.facts)
        // The end of the old one takes nothing from the new one.
        book.didEnd("1")
        let new = try #require(book["2"])
        #expect(book.askUnmount(at: "/mnt") == .detach(new))
    }

    @Test("knows nothing of a place where nothing is")
    func unknown() {
        var book = Self.serving()
        #expect(book.askUnmount(at: "/elsewhere") == .unknown)
        #expect(book.askUnmount(id: "7") == .unknown)
    }

    @Test("takes no mounts any more once it is closed")
    func closing() {
        var book = Self.serving()
        #expect(book.close().map(\.id) == ["1"])
        #expect(book.ask(Self.request("b", at: "/b"), limit: 9, newID: "2", now: Self.now) == .closed)
    }

    @Test("takes each mount of an earlier agent over once, and goes on with what it asked for")
    func takeover() {
        var book = MountBook()
        #expect(book.askTakeover(Self.request("a"), id: "1", now: Self.now) == true)
        #expect(book.askTakeover(Self.request("a"), id: "1", now: Self.now) == false)
        book.didServe("1", Self.facts)
        #expect(book.askTakeover(Self.request("a"), id: "1", now: Self.now) == false)
        #expect(book.ask(Self.request("a"), limit: 9, newID: "2", now: Self.now) == .existing(id: "1"))
    }

    @Test("tries a stranded mount again, and tells what is wrong once")
    func stranded() {
        var book = MountBook()
        _ = book.askTakeover(Self.request("a"), id: "1", now: Self.now)
        #expect(book.didStrand("1", "no store") == true)
        #expect(book["1"]?.state == .stranded)
        #expect(book.askTakeover(Self.request("a"), id: "1", now: Self.now) == true)
        #expect(book.didStrand("1", "no store") == false)
        #expect(book.askTakeover(Self.request("a"), id: "1", now: Self.now) == true)
        book.didServe("1", Self.facts)
        #expect(book["1"]?.state == .serving)
        #expect(book["1"]?.trouble == "")
        // What serves is not stranded by a late answer.
        #expect(book.didStrand("1", "late") == false)
    }

    @Test("gives a stranded mount up when asked, and keeps it stranded where the kernel refuses")
    func strandedUnmount() throws {
        var book = MountBook()
        _ = book.askTakeover(Self.request("a"), id: "1", now: Self.now)
        _ = book.didStrand("1", "no store")
        #expect(book.askUnmount(at: "/mnt") == .detach(try #require(book["1"]).with(.stranded)))
        book.didNotDetach("1")
        #expect(book["1"]?.state == .stranded)
        _ = book.askUnmount(at: "/mnt")
        book.didDetach("1")
        book.didEnd("1")
        #expect(book.ask(Self.request("b"), limit: 9, newID: "2", now: Self.now) == .start(id: "2"))
    }

    @Test("takes nothing over once it is closed")
    func closedTakeover() {
        var book = MountBook()
        _ = book.close()
        #expect(book.askTakeover(Self.request("a"), id: "1", now: Self.now) == false)
    }
}

extension MountRecord {
    fileprivate func with(_ state: State) -> MountRecord {
        var copy = self
        copy.state = state
        return copy
    }
}
