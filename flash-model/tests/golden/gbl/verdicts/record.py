#!/usr/bin/env python3
"""What the parser of the Gecko Bootloader says about files; see ../README.md.

usage: record.py SDK FOLDER >verdicts.jsonl    with pygbl[all]==1.2.0 and a gcc that makes 32-bit programs
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import pygbl
from cryptography.hazmat.primitives.serialization import load_pem_private_key

HERE = pathlib.Path(__file__).resolve().parent
STUBS = {
    "em_device.h": """#pragma once
#include <stdint.h>
#include <stdlib.h>
#define FLASH_BASE 0x08000000UL
#define FLASH_SIZE 0x00080000UL
#define LOCKBITS_BASE 0x0807E000UL
#define SL_MIN(a, b) ((a) < (b) ? (a) : (b))
#define SL_MAX(a, b) ((a) > (b) ? (a) : (b))
#define SL_ALIGN(bytes)
#define SL_ATTRIBUTE_ALIGN(bytes) __attribute__((aligned(bytes)))
#define SL_NORETURN __attribute__((noreturn))
#define __INLINE inline
#define __STATIC_INLINE static inline
#define _SILICON_LABS_32B_SERIES_2
#define _SILICON_LABS_GECKO_INTERNAL_SDID_210
#define CRYPTOACC_PRESENT
""",
    "em_common.h": '#include "em_device.h"\n',
    "config/btl_config.h": """#pragma once
#include "em_device.h"
#define BTL_CONFIG_FILE
#define BTL_PARSER_SUPPORT_CUSTOM_TAGS
#define BTL_PARSER_SUPPORT_LZ4
#define BTL_PARSER_SUPPORT_LZMA
#define BTL_PARSER_SUPPORT_VERSION_DEPENDENCY_TAG
#define BTL_UPGRADE_LOCATION (FLASH_BASE + 0x18000UL)
#define BOOTLOADER_APPLOADER
""",
    "security/btl_security_types.h": """#pragma once
#include <stddef.h>
#include "mbedtls/aes.h"
#include "mbedtls/sha256.h"
typedef struct { mbedtls_aes_context aes; size_t offset; uint8_t block[16], counter[16]; } AesCtrContext_t;
typedef struct { uint8_t sha[32]; mbedtls_sha256_context context; } Sha256Context_t;
""",
    "mbedtls.h": "#define MBEDTLS_AES_C\n#define MBEDTLS_CIPHER_MODE_CTR\n#define MBEDTLS_SHA256_C\n",
}
BUILDS = {
    "radio": ["-DBOOTLOADER_SUPPORT_COMMUNICATION"],
    "signed": ["-DBOOTLOADER_SUPPORT_COMMUNICATION", "-DBOOTLOADER_ENFORCE_SIGNED_UPGRADE=1"],
    "storage": ["-DBOOTLOADER_SUPPORT_STORAGE"],
}


def build(sdk, folder, name):
    bootloader, mbedtls = sdk / "platform/bootloader", sdk / "util/third_party/mbedtls"
    gbl, compression = bootloader / "parser/gbl", bootloader / "parser/compression"
    sources = [gbl / f"btl_gbl_{part}.c" for part in ("parser", "format", "custom_tags")]
    sources += [compression / f"btl_decompress_{part}.c" for part in ("lz4", "lzma")] + [compression / "lzma/LzmaDec.c"]
    sources += [mbedtls / "library" / f"{part}.c" for part in ("aes", "sha256", "platform_util")]
    includes = [folder, mbedtls / "include", mbedtls / "library", bootloader, bootloader / "api", compression]
    command = ["gcc", "-m32", "-w", "-O1", '-DMBEDTLS_CONFIG_FILE="mbedtls.h"', "-include", folder / "em_device.h"]
    command += BUILDS[name] + [f"-I{path}" for path in includes] + [HERE / "record.c", *sources, "-o", folder / name]
    subprocess.run(command, check=True)


def verdict(program, path, aes, public):
    def run(holds):
        return subprocess.run([program, path, aes, holds], capture_output=True, text=True).stdout.split("\n")

    lines = run("1")
    for line in lines:
        if line.startswith("signature "):
            digest, r, s = map(bytes.fromhex, line.split()[1:])
            if not pygbl.crypto.verify_digest(public, digest, r, s):
                lines = run("0")
    return lines[-2] if len(lines) > 1 else "crashes"


def main():
    sdk, files = map(pathlib.Path, sys.argv[1:])
    public = load_pem_private_key((HERE.parent / "sign.pem").read_bytes(), None).public_key()
    aes = pygbl.read_encryption_key((HERE.parent / "aes.txt").read_text()).hex()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for name, text in STUBS.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)
        for name in BUILDS:
            build(sdk, folder, name)
        for path in sorted(files.glob("*.gbl")):
            record = {name: verdict(folder / name, path, aes, public) for name in BUILDS}
            print(json.dumps({"file": path.read_bytes().hex(), **record}))


main()
