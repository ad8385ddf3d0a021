import HTTPExchange
import Testing

@Suite struct ContentRangeTests {
    @Test func aRangeAndItsTotalAreRead() {
        #expect(HTTPContentRange(parsing: "bytes 0-0/1") == HTTPContentRange(bytes: 0..<1, total: 1))
        #expect(HTTPContentRange(parsing: "bytes 5-9/100") == HTTPContentRange(bytes: 5..<10, total: 100))
        #expect(HTTPContentRange(parsing: "Bytes 5-9/*") == HTTPContentRange(bytes: 5..<10, total: nil))
    }

    @Test(arguments: [
        "", "bytes", "bytes */100", "bytes 5-4/100", "bytes 0-100/100", "bytes -5/100", "bytes 5-/100",
        "bytes +1-2/9",
        "bytes 0-18446744073709551615/*", "bytes 0-18446744073709551616/*", "bytes 0-1", "bytes 0-1/2/3",
        "items 0-1/2",
        "bytes 0-1-2/3", "bytes  0-1/2", "bytes 0-1/x",
    ])
    func anythingElseIsNone(_ text: String) {
        #expect(HTTPContentRange(parsing: text) == nil)
    }
}
