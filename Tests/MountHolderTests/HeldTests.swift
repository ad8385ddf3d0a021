// filled next
import Testing
