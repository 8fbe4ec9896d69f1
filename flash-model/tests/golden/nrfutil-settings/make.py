"""Makes app.hex and softdevice.hex: the bytes are (7 * i + seed) mod 256."""
from intelhex import IntelHex

for name, start, size, seed in (("app.hex", 0x26000, 1002, 3), ("softdevice.hex", 0x1000, 600, 11)):
    out = IntelHex()
    for i in range(size):
        out[start + i] = (7 * i + seed) % 256
    out.write_hex_file(name)
