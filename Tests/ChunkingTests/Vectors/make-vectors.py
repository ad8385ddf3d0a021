#!/usr/bin/env python3
"""Writes chunking.json: the gear table and cut points, computed from the definitions alone.

A second implementation on purpose. The Swift tests compare against the file, so both must agree with the
doc comments of GearTable, CDC and RecordCutter. Sources: SHA-256, splitmix64, CRC-32C.
"""
import hashlib
import json
import os
import struct

M = (1 << 64) - 1
GEAR = [
    int.from_bytes(hashlib.sha256(b"kaml gear v1" + bytes([i])).digest()[:8], "little") for i in range(256)
]


def finish(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & M
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & M
    return z ^ (z >> 31)


class SplitMix64:
    def __init__(self, seed):
        self.state = seed

    def next(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & M
        return finish(self.state)

    def bytes(self, count):
        words = (count + 7) // 8
        return struct.pack("<%dQ" % words, *(self.next() for _ in range(words)))[:count]


def cdc_cut(data, start, minimum, average, maximum):
    end = min(maximum, len(data) - start)
    if end <= minimum:
        return end
    bits = average.bit_length() - 1
    h = 0
    for position in range(minimum - 64, end - 1):
        h = ((h << 1) + GEAR[data[start + position]]) & M
        length = position + 1
        if length >= minimum and h >> (64 - (bits + 2 if length < average else bits - 2)) == 0:
            return length
    return end


def cdc_cuts(data, *sizes, start=0):
    cuts = []
    while start < len(data):
        start += cdc_cut(data, start, *sizes)
        cuts.append(start)
    return cuts


CRC_TABLE = []
for i in range(256):
    for _ in range(8):
        i = (i >> 1) ^ (0x82F63B78 if i & 1 else 0)
    CRC_TABLE.append(i)


def masked_crc(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ CRC_TABLE[(crc ^ byte) & 0xFF]
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def record(random, length):
    """A frame whose trailer is random: only the length's checksum matters to the cuts."""
    header = struct.pack("<Q", length)
    data = random.bytes(length)
    return header + struct.pack("<I", masked_crc(header)) + data + struct.pack("<I", random.next() & 0xFFFFFFFF)


def next_record(data, at):
    if len(data) - at < 12:
        return None
    length, crc = struct.unpack_from("<QI", data, at)
    if masked_crc(data[at : at + 8]) != crc or length + 16 > len(data) - at:
        return None
    return length + 16


def record_cuts(data, minimum, average, maximum):
    per_byte = M // (average - minimum + 1)
    cuts, start = [], 0
    while start < len(data):
        taken = 0
        while True:
            if taken == maximum or start + taken == len(data):
                break
            total = next_record(data, start + taken)
            if total is None:
                if taken:
                    cuts.append(start + taken)
                return cuts + cdc_cuts(data, minimum, average, maximum, start=start + taken)
            if taken and (total >= minimum or taken + total > maximum):
                break
            if total > maximum:
                rest = total
                while rest > maximum:
                    start, rest = start + maximum, rest - maximum
                    cuts.append(start)
                taken = rest
                break
            taken += total
            if total >= minimum:
                break
            trailer = struct.unpack_from("<I", data, start + taken - 4)[0]
            if taken >= minimum and finish(((total << 32) & M) ^ trailer) < total * per_byte:
                break
        start += taken
        cuts.append(start)
    return cuts


def records(seed, rule):
    random = SplitMix64(seed)
    data = b""
    for index in range(rule["count"]):
        data += record(random, rule["base"] + random.next() % rule["spread"])
    return data


def main():
    small = [64, 256, 1024]
    standard = [65536, 262144, 1048576]
    cdc = []
    for seed, size, sizes in [(1, 8 << 20, standard), (2, 100_000, small), (3, 65_536, standard), (4, 70_000, [64, 1024, 4096])]:
        data = SplitMix64(seed).bytes(size)
        cdc.append({"seed": seed, "size": size, "sizes": sizes, "cuts": cdc_cuts(data, *sizes)})
    record_vectors = []
    for seed, rule, sizes, damage in [
        (11, {"count": 400, "base": 0, "spread": 100}, [256, 1024, 4096], None),
        (12, {"count": 60, "base": 100, "spread": 300}, [256, 1024, 4096], None),
        (13, {"count": 12, "base": 1, "spread": 20_000}, [256, 1024, 4096], None),
        (14, {"count": 200, "base": 0, "spread": 400}, [256, 1024, 4096], 20_000),
    ]:
        data = bytearray(records(seed, rule))
        if damage is not None:
            data = data[:damage]
        vector = {"seed": seed, **rule, "sizes": sizes, "truncateTo": len(data), "cuts": record_cuts(bytes(data), *sizes)}
        record_vectors.append(vector)
    vectors = {
        "about": "Random bytes are the little-endian words of splitmix64 from the seed. A record is: "
        "length = base + next() % spread; header; the bytes (whole words drawn, the last one cut); "
        "trailer = the low 32 bits of next(). sizes are minimum, average, maximum. cuts are chunk ends.",
        "gear": ["%016x" % word for word in GEAR],
        "splitmix64": {"seed": 1, "words": ["%016x" % w for w in (lambda r: [r.next() for _ in range(4)])(SplitMix64(1))]},
        "cdc": cdc,
        "record": record_vectors,
    }
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "chunking.json")
    with open(path, "w") as file:
        json.dump(vectors, file, indent=1)
        file.write("\n")


main()
