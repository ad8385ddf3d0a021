import Testing

@testable import Agent

/// Who may feed from what.
@Suite struct FeedAccessTests {
    @Test("without rules everybody may; with some, whom one of them allows")
    func rules() throws {
        #expect(FeedAccess().allows(user: 5, group: 5, dataset: "anything"))
        let access = try #require(FeedAccess("user:1000=imagenet,coco-*; group:2000=*; *=public-*"))
        #expect(access.allows(user: 1000, group: 1, dataset: "imagenet"))
        #expect(access.allows(user: 1000, group: 1, dataset: "coco-2017"))
        #expect(!access.allows(user: 1000, group: 1, dataset: "imagenet2"))
        #expect(!access.allows(user: 1001, group: 1, dataset: "imagenet"))
        #expect(access.allows(user: 1001, group: 2000, dataset: "secret"))
        #expect(access.allows(user: 9, group: 9, dataset: "public-"))
        #expect(!access.allows(user: 9, group: 9, dataset: "publi"))
    }

    @Test(
        "a star stands for any characters, anywhere", arguments: [("*a*b", "xaxxb"), ("**", ""), ("a*", "a")])
    func patterns(pattern: String, name: String) throws {
        #expect(try #require(FeedAccess("*=\(pattern)")).allows(user: 1, group: 1, dataset: name))
        #expect(try !#require(FeedAccess("*=\(pattern)z")).allows(user: 1, group: 1, dataset: name))
    }

    @Test(
        "what is no rule is refused, so that no typing error opens a dataset",
        arguments: [
            "imagenet", "user=imagenet", "user:bob=x", "user:1=", "user:1=a,,b", ";", "*=a;", "role:1=a",
            "user:-1=a",
        ])
    func malformed(text: String) { #expect(FeedAccess(text) == nil) }
}
