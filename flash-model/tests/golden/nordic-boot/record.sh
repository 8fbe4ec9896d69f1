#!/bin/sh
# record.sh SDK INPUTS: builds the recorder from the nRF5 SDK 17.1.0 in SDK, and records from INPUTS, which
# BRICKPROOF_WRITE_NORDIC_BOOT=INPUTS cargo test -p brickproof-flash-model --test nordic_golden --test nordic_validation
# writes. Leaves records.jsonl and answers.jsonl. Needs gcc for x86-64, Python, and to be root: flash begins at address
# 0x1000.
set -e
SDK=$1 INPUTS=$2
HERE=$(cd "$(dirname "$0")" && pwd)
WORK=$(mktemp -d)
BOOT=$WORK/bootloader
cp -r "$SDK/components/libraries/bootloader" "$BOOT"
# The pages of the settings are those of nordic24, and the linker says where.
python3 - "$BOOT/dfu" <<'P'
import re, sys
for name, changes in (
    ("nrf_dfu_types.h", [(r"0x000FF000UL", "0x00017000UL"), (r"0x000FE000UL", "0x00016000UL")]),
    ("nrf_dfu_settings.c", [(r"uint8_t (m_\w+)\[(\w+)\]\s*__attribute__\(\(section\([^;]*;", r"extern uint8_t \1[\2];")]),
):
    path = f"{sys.argv[1]}/{name}"
    text = open(path).read()
    for old, new in changes:
        text = re.sub(old, new, text)
    open(path, "w").write(text)
P
mkdir "$WORK/stub"
cp "$HERE/stubs.h" "$HERE/sdk_config.h" "$WORK/stub"
for header in sdk_errors nrf_log nrf_log_ctrl nrf_crypto nrf_assert nrf app_util sdk_macros nrf_nvmc app_util_platform \
    app_scheduler sdk_common nrf_strerror nrf_soc nrf_section nrf_power nrf_fstorage nrf_error nrf_delay \
    nrf_crypto_shared compiler_abstraction boards ble_gap app_error nrf_mbr; do
    echo '#include "stubs.h"' >"$WORK/stub/$header.h"
done
cat >"$WORK/stub/nrf_bootloader_dfu_timers.h" <<'H'
#define NRF_BOOTLOADER_MS_TO_TICKS(ms) (ms)
void nrf_bootloader_dfu_inactivity_timer_restart(unsigned ticks, void (*callback)(void));
H
printf 'void nrf_bootloader_wdt_init(void);\nvoid nrf_bootloader_wdt_feed(void);\n' >"$WORK/stub/nrf_bootloader_wdt.h"
printf 'void nrf_bootloader_app_start(void);\nvoid nrf_bootloader_debug_port_disable(void);\n' \
    >"$WORK/stub/nrf_bootloader_app_start.h"
rm "$BOOT"/nrf_bootloader_dfu_timers.h "$BOOT"/nrf_bootloader_wdt.h "$BOOT"/nrf_bootloader_app_start.h
build() {
    out=$1
    shift
    gcc -O1 -w -fno-delete-null-pointer-checks -fno-strict-aliasing -std=gnu99 -fshort-enums -fcommon -no-pie -fno-pie \
        "$@" -DNRF52840_XXAA -DNRF52_SERIES -DBLE_STACK_SUPPORT_REQD -DSVCALL_AS_NORMAL_FUNCTION \
        -DNRF_DFU_SETTINGS_VERSION=2 -DBOOTLOADER_START_ADDR=0x14000 -DBOOTLOADER_SIZE=0x2000 \
        -I"$WORK/stub" -I"$BOOT" -I"$BOOT/dfu" -I"$SDK/components/libraries/crc32" -I"$SDK/external/nano-pb" \
        -I"$SDK/components/softdevice/s140/headers" "$HERE/recorder.c" \
        "$BOOT"/nrf_bootloader.c "$BOOT"/nrf_bootloader_fw_activation.c "$BOOT"/dfu/nrf_dfu_settings.c \
        "$BOOT"/dfu/nrf_dfu_settings_svci.c "$BOOT"/dfu/nrf_dfu_utils.c "$BOOT"/dfu/nrf_dfu_validation.c \
        "$BOOT"/dfu/nrf_dfu_ver_validation.c "$BOOT"/dfu/nrf_dfu_req_handler.c "$BOOT"/dfu/nrf_dfu_handling_error.c \
        "$BOOT"/dfu/nrf_dfu_mbr.c "$BOOT"/dfu/dfu-cc.pb.c "$SDK/components/libraries/crc32/crc32.c" \
        "$SDK/external/nano-pb/pb_common.c" "$SDK/external/nano-pb/pb_decode.c" -lm \
        -Wl,--defsym,m_dfu_settings_buffer=0x17000 -Wl,--defsym,m_mbr_params_page=0x16000 -o "$WORK/$out"
}
build default
build single -DNRF_DFU_SINGLE_BANK_APP_UPDATES=1
build progress -DNRF_DFU_SAVE_PROGRESS_IN_FLASH=1
build any-version -DNRF_DFU_APP_DOWNGRADE_PREVENTION=0
build no-same -DNRF_DFU_APP_ACCEPT_SAME_VERSION=0
build unsigned -DNRF_DFU_REQUIRE_SIGNED_APP_UPDATE=0
build debug -DNRF_DFU_DEBUG=1
build dual -DNRF_DFU_FORCE_DUAL_BANK_APP_UPDATES=1
for name in empty-application empty-bootloader empty-softdevice version-1 name page-alone backup-alone nothing \
    dual long broken refused no-room softdevice softdevice-larger softdevice-long bootloader both both-major \
    both-over-source; do
    "$WORK/default" $name "$INPUTS/$name"
done >records.jsonl
for name in single single-softdevice; do
    "$WORK/single" $name "$INPUTS/$name"
done >>records.jsonl
"$WORK/progress" progress "$INPUTS/progress" >>records.jsonl
for folder in "$INPUTS"/answers/*; do
    name=$(basename "$folder")
    "$WORK/${name%-*}" "$name" "$folder" answers
done >answers.jsonl
