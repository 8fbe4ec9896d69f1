#!/usr/bin/env python3
"""compressed.py FOLDER: the compressed firmware of the scripts, by liblzma and liblz4 (`pip install lz4==4.4.5`)."""
import lzma
import pathlib
import struct
import sys

import lz4.block


def firmware(size, base, version, seed, properties=True):
    """The same bytes as `scripts::firmware`."""
    state, data = seed * 2654435761 % 2**32 | 1, bytearray()
    for _ in range(size):
        state ^= state << 13 & 0xFFFFFFFF
        state ^= state >> 17
        state ^= state << 5 & 0xFFFFFFFF
        data.append(state & 0xFF)
    for at in range(0, size - 64, 96):
        data[at : at + 48] = data[64:112]
    struct.pack_into("<II", data, 0, 0x20001000, base + 0x181)
    if properties and size >= 0x200:
        struct.pack_into("<I", data, 52, base + 0x100)
        data[0x100:0x110] = bytes.fromhex("13b779fac925ddb7adf3cfe0f1b614b8")
        struct.pack_into("<III", data, 0x110, 1, 0, 0)
        struct.pack_into("<III", data, 0x11C, 0x20, version, 0)
        data[0x128:0x138] = bytes(range(16))
        struct.pack_into("<I", data, 0x138, 0)
    return bytes(data)


def packed(data, lc=1, lp=1, pb=2, dictionary=8192):
    filters = [{"id": lzma.FILTER_LZMA1, "lc": lc, "lp": lp, "pb": pb, "dict_size": dictionary}]
    return lzma.compress(data, format=lzma.FORMAT_ALONE, filters=filters)


APPLOADER, STORAGE, SERIES_1 = 0x08012000, 0x08006000, 0x4000
small, big = firmware(0x300, APPLOADER, 2, 1), firmware(12000, APPLOADER, 2, 3)
files = {
    "big.lzma": packed(big),
    "small.lzma": packed(small),
    "page.lzma": packed(firmware(8192, APPLOADER, 2, 5)),
    "odd.lzma": packed(small[:0x2FF]),
    "zeros.lzma": packed(small + bytes(30000)),
    "lc3.lzma": packed(small, 3, 0, 2),
    "dictionary.lzma": packed(small, 1, 1, 2, 1 << 16),
    "dictionary-4k.lzma": packed(big, 1, 1, 0, 4096),
    "lp2.lzma": packed(big, 0, 2, 4),
    "storage.lzma": packed(firmware(12000, STORAGE, 2, 3)),
    "big.lz4": lz4.block.compress(big, store_size=False, mode="high_compression"),
    "small.lz4": lz4.block.compress(small, store_size=False),
    "odd.lz4": lz4.block.compress(small[:0x2FF], store_size=False),
    "zeros.lz4": lz4.block.compress(small + bytes(9000), store_size=False),
    "storage.lz4": lz4.block.compress(firmware(12000, STORAGE, 2, 3), store_size=False),
    "series-1.lz4": lz4.block.compress(firmware(0x900, SERIES_1, 2, 1), store_size=False),
}
folder = pathlib.Path(sys.argv[1])
for name, data in files.items():
    (folder / name).write_bytes(data)
