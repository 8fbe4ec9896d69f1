#!/bin/sh
# record.sh SDK MBEDTLS SCRIPTS: builds the recorder from the bootloader of the Simplicity SDK 2024.6.0 in SDK and the mbed TLS
# in MBEDTLS, and runs the scripts in SCRIPTS/BUILD/NAME. Leaves records.jsonl. Needs gcc for x86 with 32 bits, and to be root.
set -e
SDK=$1 MBEDTLS=$2 SCRIPTS=$3
HERE=$(cd "$(dirname "$0")" && pwd)
WORK=$(mktemp -d)
BOOT=$WORK/bootloader
cp -r "$SDK/platform/bootloader" "$BOOT"
mkdir "$WORK/stub"
cp "$HERE/stubs.h" "$HERE/config.h" "$WORK/stub"
# What is hardware, or for another compiler.
for header in em_common sl_common em_msc em_device em_cmu em_chip em_gpio fih sl_device_init_clocks sl_device_init_hfxo pa_conversions_efr32 \
    sli_se_manager_mailbox sli_se_manager_internal sl_core core/btl_util core/btl_helper btl_helper btl_util; do
    mkdir -p "$WORK/stub/$(dirname $header)"
    echo '#include "stubs.h"' >"$WORK/stub/$header.h"
done
rm "$BOOT/core/btl_util.h" "$BOOT/core/btl_helper.h"
echo '#include <stdint.h>
typedef uint32_t sl_status_t;
#define SL_STATUS_OK 0' >"$WORK/stub/sl_status.h"
touch "$WORK/stub/sl_component_catalog.h"
cp "$WORK/stub/config.h" "$WORK/stub/btl_apploader_config.h"
cp "$WORK/stub/config.h" "$WORK/stub/btl_storage_slot_cfg.h"
cp "$WORK/stub/config.h" "$WORK/stub/btl_internal_storage_cfg.h"
build() {
    out=$1
    shift
    # shellcheck disable=SC2046
    gcc -m32 -O1 -w -g -fno-strict-aliasing -fno-delete-null-pointer-checks -std=gnu99 -no-pie -fno-pie "$@" \
        -DMBEDTLS_CONFIG_FILE='"golden_mbedtls.h"' -DBTL_CONFIG_FILE='"config.h"' -DBOOTLOADER_HAS_GBL \
        -I"$WORK/stub" -I"$HERE" -I"$BOOT" -I"$BOOT/core" -I"$BOOT/communication/apploader" -I"$BOOT/storage" \
        -I"$BOOT/storage/bootloadinfo" -I"$BOOT/security" -I"$SDK/protocol/bluetooth/apploader/inc" -I"$MBEDTLS/include" \
        -Dmain=bootloader_main -c "$BOOT/core/btl_main.c" -o "$WORK/btl_main.o"
    sources="core/btl_bootload.c core/btl_parse.c core/btl_reset.c core/flash/btl_internal_flash.c parser/gbl/btl_gbl_parser.c
        parser/gbl/btl_gbl_format.c parser/gbl/btl_gbl_custom_tags.c parser/compression/btl_decompress_lz4.c
        parser/compression/btl_decompress_lzma.c parser/compression/lzma/LzmaDec.c
        security/btl_security_aes.c security/btl_security_sha256.c security/btl_security_tokens.c security/sha/btl_sha256.c"
    case " $* " in
    *SUPPORT_STORAGE*) sources="$sources storage/btl_storage.c storage/btl_storage_library.c
        storage/internal_flash/btl_storage_internal_flash.c storage/bootloadinfo/btl_storage_bootloadinfo_single.c" ;;
    *) sources="$sources communication/apploader/btl_apploader_common.c communication/apploader/btl_apploader.c" ;;
    esac
    case " $* " in
    *VALIDATION_CALLBACK*) sources="$sources app_version/btl_parser_app_version_check.c" ;;
    esac
    (cd "$BOOT" && gcc -m32 -O1 -w -g -fno-strict-aliasing -fno-delete-null-pointer-checks -std=gnu99 -no-pie -fno-pie "$@" \
        -DMBEDTLS_CONFIG_FILE='"golden_mbedtls.h"' -DBTL_CONFIG_FILE='"config.h"' -DBOOTLOADER_HAS_GBL \
        -I"$WORK/stub" -I"$HERE" -I"$BOOT" -I"$BOOT/core" -I"$BOOT/communication/apploader" -I"$BOOT/storage" \
        -I"$BOOT/storage/bootloadinfo" -I"$BOOT/security" -I"$SDK/protocol/bluetooth/apploader/inc" -I"$MBEDTLS/include" \
        "$HERE/recorder.c" $sources "$WORK/btl_main.o" \
        $(for name in aes sha256 asn1parse asn1write bignum bignum_core ecdsa ecp ecp_curves platform_util constant_time; do echo "$MBEDTLS/library/$name.c"; done) \
        -Wl,-Ttext-segment=0x40000000 -o "$WORK/$out")
}
APPLOADER="-DBOOTLOADER_APPLOADER -DBOOTLOADER_SUPPORT_COMMUNICATION=1"
STORAGE="-DBOOTLOADER_SUPPORT_STORAGE=1 -DBOOTLOADER_SUPPORT_INTERNAL_STORAGE=1"
ALL="-DBTL_PARSER_SUPPORT_LZ4 -DBTL_PARSER_SUPPORT_LZMA -DBTL_PARSER_SUPPORT_CUSTOM_TAGS"
DEPENDS=-DBTL_PARSER_SUPPORT_VERSION_DEPENDENCY_TAG
# shellcheck disable=SC2086
{
    build apploader $APPLOADER $ALL $DEPENDS
    build plain $APPLOADER -DBTL_PARSER_NO_SUPPORT_ENCRYPTION
    build strict $APPLOADER $ALL -DBOOTLOADER_ENFORCE_SIGNED_UPGRADE=1 -DBOOTLOADER_ENFORCE_ENCRYPTED_UPGRADE=1
    build signed $APPLOADER $ALL $DEPENDS -DBOOTLOADER_ENFORCE_SIGNED_UPGRADE=1 -DBOOTLOADER_ENFORCE_SECURE_BOOT=1
    build certificates $APPLOADER $ALL -DBOOTLOADER_ENFORCE_SIGNED_UPGRADE=1 -DBOOTLOADER_SUPPORT_CERTIFICATES=1 \
        -DBOOTLOADER_ENFORCE_SECURE_BOOT=1
    build versions $APPLOADER $ALL -DPARSER_HAS_APPLICATION_UPGRADE_VALIDATION_CALLBACK=1
    build rollback $APPLOADER $ALL -DBOOTLOADER_ENFORCE_SECURE_BOOT=1 -DBOOTLOADER_ROLLBACK_PROTECTION=1
    build storage $STORAGE $ALL $DEPENDS -DBTL_UPGRADE_LOCATION_BASE=0x8000UL
    build storage-overlap $STORAGE $ALL -DBTL_UPGRADE_LOCATION_BASE=0x2C000UL
    build series-1 -DSERIES_1 $STORAGE $ALL
}
for folder in "$SCRIPTS"/*; do
    for script in "$folder"/*; do
        "$WORK/$(basename "$folder")" "$(basename "$folder")/$(basename "$script")" "$script"
    done
done >records.jsonl
