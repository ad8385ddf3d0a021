import S3
import System

/// Any bytes as a page of a listing: refused, or a page of no more objects than the bytes have room for.
func fuzzListing(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = Array(UnsafeRawBufferPointer(start: start, count: count))
    guard let page = try? ListPage(bytes) else { return 0 }
    // The shortest element of one.
    precondition(page.objects.count * "<Version/>".utf8.count <= count)
    for object in page.objects { precondition(object.key.count <= count && object.size <= UInt64(Int64.max)) }
    return 0
}
