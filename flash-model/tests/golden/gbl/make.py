#!/usr/bin/env python3
"""Makes the files of this folder with pygbl; see README.md. usage: make.py FOLDER"""
import dataclasses
import hashlib
import json
import pathlib
import sys

import pygbl
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

folder = pathlib.Path(sys.argv[1])
KEY = bytes(range(0x10, 0x20))
NONCE = bytes(range(0xA0, 0xAC))
BASE = 0x6000


def noise(seed, length):
    """The same bytes each time."""
    blocks = (hashlib.sha256(f"{seed} {index}".encode()).digest() for index in range(length // 32 + 1))
    return b"".join(blocks)[:length]


def private_key(secret):
    return ec.derive_private_key(int.from_bytes(hashlib.sha256(secret).digest(), "big"), ec.SECP256R1())


def point(key):
    numbers = key.public_key().public_numbers()
    return numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")


sign, root = private_key(b"golden sign"), private_key(b"golden root")
info = pygbl.GBL3ApplicationInfo(
    type=pygbl.GBL3ApplicationType.BLUETOOTH_APP, version=2, capabilities=0x55, product_id=bytes(range(16))
)
code = b"".join(noise(f"code {line}", 24) + bytes.fromhex("08b5002008bd7047") for line in range(16))
program = pygbl.GBL3EraseProg(address=BASE, data=code[:509])


def file(*tags):
    header = pygbl.GBL3Header(version=3, type=pygbl.GBL3Type.NONE)
    return pygbl.GBL3Image(tags=[header, *tags]).regenerate_crc()


def certified():
    blank = pygbl.GBL3CertificateEcdsaP256(
        struct_version=1, flags=bytes(3), key=point(sign), version=3, signature=bytes(64)
    )
    signed = blank.serialize_payload()[:72]
    r, s = pygbl.crypto.sign_digest(root, hashlib.sha256(signed).digest())
    return dataclasses.replace(blank, signature=r + s)


plain = file(info, program)
dependency = pygbl.GBL3VersionDependency(
    statements=[
        pygbl.VersionDependencyStatement(image_type=1, statement=0x06, version=1),
        pygbl.VersionDependencyStatement(image_type=2, statement=0x26, version=0x02040000),
        pygbl.VersionDependencyStatement(image_type=3, statement=0x01, version=0x00010203),
    ]
)
bootloader = noise("bootloader", 200)
everything = file(
    dependency,
    info,
    pygbl.GBL3SeUpgrade(blob_size=40, version=0x00010204, data=noise("se", 40)),
    pygbl.GBL3Bootloader(
        version=pygbl.BootloaderVersion(2, 4, 1),
        address=0x08000000,
        data=bootloader + pygbl.gbl3.zlib.crc32(bootloader).to_bytes(4, "little"),
    ),
    pygbl.GBL3Metadata(metadata=b"golden"),
    pygbl.GBL3Prog(address=BASE, data=noise("first", 64)),
    pygbl.GBL3EraseProg(address=BASE + 64, data=noise("second", 33)),
)
deltas = file(
    info,
    *[
        tag(new_fw_crc=0x11223344, new_fw_size=1000, address=BASE, data=noise("patch", 30))
        for tag in (pygbl.GBL3Delta, pygbl.GBL3DeltaLZ4, pygbl.GBL3DeltaLZMA)
    ],
)
files = {
    "plain": plain,
    "signed": plain.sign(sign),
    "certificate": file(info, program, certified()).sign(sign),
    "encrypted": plain.encrypt(KEY, nonce=NONCE),
    "encrypted-signed": plain.encrypt(KEY, nonce=NONCE).sign(sign),
    "lzma": plain.compress(pygbl.GBL3Compression.LZMA),
    "lz4": plain.compress(pygbl.GBL3Compression.LZ4),
    "lzma-encrypted": plain.compress(pygbl.GBL3Compression.LZMA).encrypt(KEY, nonce=NONCE),
    "everything": everything,
    "delta": deltas,
}
for name, image in files.items():
    (folder / f"{name}.gbl").write_bytes(image.serialize())
manifest = pygbl.GBL4Manifest(children=[pygbl.GBL4ManifestInfo(version=0x04000000, features=pygbl.GBL4Feature(0))])
(folder / "version-4.gbl").write_bytes(pygbl.GBL4Image(root=pygbl.GBL4Root(children=[manifest])).serialize())
ebl = pygbl.EBLHeader(version=0x0201, signature=0xE350, flash_addr=BASE, aat_crc=0, aat=bytes(128))
(folder / "ember.ebl").write_bytes(pygbl.ebl.serialize_tag(ebl))
(folder / "code.bin").write_bytes(program.data)
pem = sign.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
)
(folder / "sign.pem").write_bytes(pem)
pem = root.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
(folder / "root-public.pem").write_bytes(pem)
(folder / "aes.txt").write_text(f"# Key of golden files\nTOKEN_MFG_SECURE_BOOTLOADER_KEY: {KEY.hex().upper()}\n")
x, y = point(sign)[:32].hex().upper(), point(sign)[32:].hex().upper()
(folder / "sign-public.txt").write_text(f"MFG_SIGNED_BOOTLOADER_KEY_X : {x}\nMFG_SIGNED_BOOTLOADER_KEY_Y : {y}\n")
