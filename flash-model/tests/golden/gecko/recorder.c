/* Runs the Gecko bootloader over memory, as a script says, and tells what it answers and does to flash.
 *
 * recorder NAME SCRIPT. The lines of a script:
 *   flash ADDRESS HEX   what lies in flash before
 *   file HEX            the bytes that `send` sends
 *   cut N TEAR          power is lost at operation N: 0 not begun, 1 half done
 *   run                 power comes; resets by software follow by themselves
 *   run REASON SIGN     the software has reset the device, and that is what it has left in RAM
 * and, while an AppLoader waits:
 *   connect, start, finish, disconnect, versions
 *   send CHUNK          the rest of the file, CHUNK bytes at a time, up to an error; `send CHUNK N` only N chunks
 *   power               power is lost
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "em_device.h"
#include "config/btl_config.h"
#include "api/btl_interface.h"
#include "api/btl_reset_info.h"
#include "api/application_properties.h"
#include "core/btl_bootload.h"
#include "core/btl_parse.h"
#include "core/btl_reset.h"
#include "mbedtls/ecdsa.h"
#include "mbedtls/sha256.h"
#include "security/sha/btl_sha256.h"

enum { APP, RESET, POWER, HALT, WAITS };
#define MEMORY ((uint8_t *)0)

static struct { long ops, cut; int tear, line; size_t sent; uint8_t se; } *shared;
static char **lines;
static int count;
static uint8_t *file;
static size_t file_len;
extern const MainBootloaderTable_t mainStageTable;
extern const ApplicationProperties_t sl_app_properties;
void SystemInit2(void);
int bootloader_main(void);
void out(const char *format, ...) __attribute__((format(printf, 1, 2)));

#include <stdarg.h>
void out(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    printf(",\"");
    vprintf(format, arguments);
    printf("\"");
    va_end(arguments);
    fflush(stdout);
}

/* The engine for CRC-32 of the chip. */
uint32_t btl_crc32(const uint8_t data, uint32_t crc)
{
    crc ^= data;
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
    return crc;
}
uint32_t btl_crc32Stream(const uint8_t *data, size_t len, uint32_t crc)
{
    while (len--) crc = btl_crc32(*data++, crc);
    return crc;
}
static uint32_t crc32(const uint8_t *data, size_t len) { return ~btl_crc32Stream(data, len, 0xffffffff); }

/* What lies behind the bootloader, which is not one that could run. */
static void left(void)
{
    out("flash %08x", crc32(MEMORY + BTL_APPLICATION_BASE, FLASH_BASE + FLASH_SIZE - BTL_APPLICATION_BASE));
}

static struct msc msc; struct msc *MSC = &msc;
static struct emu emu; struct emu *EMU = &emu;
static struct scb scb; struct scb *SCB = &scb;
#ifdef BOOTLOADER_APPLOADER
static struct smu smu; struct smu *SMU = &smu;
static struct sau sau; struct sau *SAU = &sau;
#endif
uint32_t __rom_end__, __StackTop, __StackLimit, __data_start__, __data_end__, __bss_start__, __bss_end__;
int32_t btl_init(void) { return BOOTLOADER_OK; }
int32_t btl_deinit(void) { return BOOTLOADER_OK; }

MSC_Status_TypeDef MSC_ErasePage(uint32_t *start)
{
    uint32_t address = (uint32_t)start;
    int cut = shared->ops++ == shared->cut;
    out("e %08x", address);
    if (address < FLASH_BASE || address - FLASH_BASE >= FLASH_SIZE) abort();
    memset(MEMORY + address, 0xff, cut ? (shared->tear ? FLASH_PAGE_SIZE / 2 : 0) : FLASH_PAGE_SIZE);
    if (cut) _exit(POWER);
    return mscReturnOk;
}

MSC_Status_TypeDef MSC_WriteWord(uint32_t *to, const void *data, uint32_t len)
{
    uint32_t address = (uint32_t)to;
    const uint8_t *from = data;
    int cut = shared->ops++ == shared->cut;
    uint32_t reached = cut ? (shared->tear ? len / 8 * 4 : 0) : len;
    out("w %08x %u %08x", address, len, crc32(from, len));
    if (address % 4 || len % 4 || address < FLASH_BASE || address - FLASH_BASE + len > FLASH_SIZE) abort();
    for (uint32_t i = 0; i < reached; i++) MEMORY[address + i] &= from[i];
    if (cut) _exit(POWER);
    return mscReturnOk;
}

MSC_Status_TypeDef MSC_WriteWordDma(int channel, uint32_t *to, const void *data, uint32_t len)
{
    return MSC_WriteWord(to, data, len);
}

void NVIC_SystemReset(void) { _exit(RESET); }
void jumpToApplicationRoutine(uint32_t start) { _exit(APP); }

/* The secure engine takes every image, puts it where the bootloader is, and resets. */
void sli_se_mailbox_command_add_parameter(sli_se_mailbox_command_t *command, uint32_t parameter)
{
    command->parameters[command->count++] = parameter;
}
void sli_se_mailbox_execute_command(sli_se_mailbox_command_t *command)
{
    out("%s", command->command == SLI_SE_COMMAND_APPLY_HOST_IMAGE ? "bootloader" : "secure-engine");
    left();
    _exit(POWER);
}
sli_se_mailbox_response_t sli_vse_mailbox_get_version(uint32_t *version)
{
    *version = 0x01020304;
    return SLI_SE_RESPONSE_OK;
}
uint32_t sli_vse_mailbox_read_executed_command(void) { return 0; }
sli_se_mailbox_response_t sli_vse_mailbox_ack_command(sli_se_mailbox_command_t *command) { return SLI_SE_RESPONSE_OK; }

/* The engine for SHA-256 of the chip: its state is kept as bytes. */
int sha_x_process(SHA_Type_t algo, uint8_t *state_in, const unsigned char *data, uint8_t *state_out, uint32_t blocks)
{
    mbedtls_sha256_context context;
    mbedtls_sha256_init(&context);
    for (int i = 0; i < 8; i++) context.MBEDTLS_PRIVATE(state)[i] = __builtin_bswap32(((uint32_t *)state_in)[i]);
    for (; blocks > 0; blocks--, data += 64) mbedtls_internal_sha256_process(&context, data);
    for (int i = 0; i < 8; i++) ((uint32_t *)state_out)[i] = __builtin_bswap32(context.MBEDTLS_PRIVATE(state)[i]);
    return 0;
}

int32_t btl_verifyEcdsaP256r1(const uint8_t *sha256, const uint8_t *r, const uint8_t *s, const uint8_t *x, const uint8_t *y)
{
    mbedtls_ecp_group group;
    mbedtls_ecp_point point;
    mbedtls_mpi mr, ms;
    uint8_t key[65] = { 4 };
    if (!sha256 || !r || !s || !x || !y) return BOOTLOADER_ERROR_SECURITY_INVALID_PARAM;
    memcpy(key + 1, x, 32);
    memcpy(key + 33, y, 32);
    mbedtls_ecp_group_init(&group);
    mbedtls_ecp_point_init(&point);
    mbedtls_mpi_init(&mr);
    mbedtls_mpi_init(&ms);
    int bad = mbedtls_ecp_group_load(&group, MBEDTLS_ECP_DP_SECP256R1)
        || mbedtls_ecp_point_read_binary(&group, &point, key, sizeof key) || mbedtls_ecp_check_pubkey(&group, &point)
        || mbedtls_mpi_read_binary(&mr, r, 32) || mbedtls_mpi_read_binary(&ms, s, 32)
        || mbedtls_ecdsa_verify(&group, sha256, 32, &point, &mr, &ms);
    return bad ? BOOTLOADER_ERROR_SECURITY_REJECTED : BOOTLOADER_OK;
}

static char *next(void) { return shared->line < count ? lines[shared->line++] : NULL; }

static size_t unhex(const char *hex, uint8_t *bytes)
{
    size_t len = 0;
    unsigned byte;
    while (sscanf(hex + 2 * len, "%2x", &byte) == 1) bytes[len++] = byte;
    return len;
}

#ifdef BOOTLOADER_SUPPORT_COMMUNICATION
#include "sl_apploader_lib_api.h"
#include "btl_apploader_callback.h"

void sl_apploader_init(const sl_apploader_config_t *config) {}
void sl_apploader_select_rf_path(uint8_t antenna) {}
void sl_apploader_set_database(void) {}
void sl_apploader_get_device_address(sl_apploader_address_t *address) { memset(address, 0, sizeof *address); }
void sl_apploader_get_static_random_device_address(sl_apploader_address_t *address) {}
sl_status_t sl_apploader_set_advertising_data(const void *data, uint8_t length) { return 0; }
sl_status_t sl_apploader_set_scan_response_data(const void *data, uint8_t length) { return 0; }
void sl_apploader_reset_database(void) {}
void sl_apploader_database_add_gatt_service(void) {}
void sl_apploader_database_add_gap_service(const char *device_name, uint16_t device_name_len) {}
void sl_apploader_database_add_ota_service(void) {}
void sl_device_init_clocks(void) {}
void sl_device_init_hfxo(void) {}
void sl_rail_util_pa_init(void) {}

static void send(const char *line)
{
    /* The parser wants its pieces aligned, and changes them. */
    static uint32_t piece[1024];
    size_t chunk = 0, times = SIZE_MAX;
    sscanf(line, "send %zu %zu", &chunk, &times);
    while (times-- > 0 && shared->sent < file_len) {
        size_t len = SL_MIN(chunk, file_len - shared->sent);
        memcpy(piece, file + shared->sent, len);
        int32_t answer = bootloader_apploader_parse_gbl((uint8_t *)piece, len);
        shared->sent += len;
        if (answer) {
            out("d %zu %04x", shared->sent, answer);
            break;
        }
    }
}

void sl_apploader_run(void)
{
    char *line = next();
    if (!line) {
        left();
        _exit(WAITS);
    }
    if (!strcmp(line, "start")) {
        shared->sent = 0;
        out("s %04x", bootloader_apploader_parser_init());
    } else if (!strncmp(line, "send", 4)) {
        send(line);
    } else if (!strcmp(line, "finish")) {
        out("f %04x", bootloader_apploader_parser_finish());
    } else if (!strcmp(line, "disconnect")) {
        bootloader_apploader_disconnection_complete();
    } else if (!strcmp(line, "versions")) {
        out("v %08x %08x", bootloader_apploader_get_bootloader_version(), bootloader_apploader_get_application_version());
    } else if (!strcmp(line, "power")) {
        _exit(POWER);
    } else {
        fprintf(stderr, "what is `%s`?\n", line);
        abort();
    }
}

/* The library tells of connections by interrupts. Here one comes as soon as the AppLoader advertises. */
sl_status_t sl_apploader_enable_advertising(bool enable)
{
    char *line = next();
    out("apploader");
    if (!line || strcmp(line, "connect")) {
        left();
        _exit(WAITS);
    }
    bootloader_apploader_connection_complete();
    return 0;
}
#endif

static void stuck(int signal) { _exit(HALT); }

/* What `HardFault_Handler` does. */
static void fault(int signal)
{
    out("fault");
    reset_resetWithReason(BOOTLOADER_RESET_REASON_FATAL);
}

int main(int argc, char **argv)
{
    static char text[1 << 22];
    FILE *script = fopen(argv[2], "r");
    size_t len = fread(text, 1, sizeof text - 1, script);
    lines = calloc(len + 1, sizeof *lines);
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) lines[count++] = line;
    file = malloc(sizeof text);
    shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    shared->cut = -1;
    int protect = PROT_READ | PROT_WRITE, flags = MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED;
    if (mmap(MEMORY + FLASH_BASE, FLASH_SIZE, protect, flags, -1, 0) == MAP_FAILED
        || mmap(MEMORY + SRAM_BASE, SRAM_SIZE, protect, flags, -1, 0) == MAP_FAILED) {
        perror("mmap");
        return 1;
    }
#ifdef SERIES_1
    if (mmap(MEMORY + LOCKBITS_BASE, FLASH_PAGE_SIZE * 2, protect, flags, -1, 0) == MAP_FAILED) return 1;
#endif
    memset(MEMORY + FLASH_BASE, 0xff, FLASH_SIZE);
    /* The bootloader: its table, and the properties behind word 13. */
    BareBootTable_t *vectors = (BareBootTable_t *)BTL_MAIN_STAGE_BASE;
    uint8_t *properties = MEMORY + BTL_MAIN_STAGE_BASE + 0x100, *certificate = properties + 0x100;
    memcpy(properties, &sl_app_properties, sizeof sl_app_properties);
    if (sl_app_properties.cert) {
        ((ApplicationProperties_t *)properties)->cert = (ApplicationCertificate_t *)certificate;
        memset(certificate, 0, sizeof(ApplicationCertificate_t));
    }
    *(const MainBootloaderTable_t **)BTL_MAIN_BOOTLOADER_TABLE_BASE = &mainStageTable;
    *(uint8_t **)(BTL_MAIN_STAGE_BASE + 52) = properties;
#ifdef BOOTLOADER_HAS_FIRST_STAGE
    static const FirstBootloaderTable_t first = { { BOOTLOADER_MAGIC_FIRST_STAGE, 1, 1 }, (BareBootTable_t *)BTL_MAIN_STAGE_BASE, NULL };
    *(const FirstBootloaderTable_t **)BTL_FIRST_BOOTLOADER_TABLE_BASE = &first;
#endif
    (void)vectors;
    signal(SIGALRM, stuck);
    signal(SIGSEGV, fault);
    printf("{\"case\":\"%s\",\"said\":[\"recorded\"", argv[1]);
    fflush(stdout);
    bool runs = false, by_software = false;
    for (int resets = 0; resets < 20;) {
        if (!runs) {
            char *line = next();
            unsigned address, hex;
            if (!line) break;
            if (sscanf(line, "flash %x %n", &address, (int *)&hex) == 1) {
                unhex(line + hex, MEMORY + address);
            } else if (!strncmp(line, "file ", 5)) {
                file_len = unhex(line + 5, file);
                shared->sent = 0;
            } else if (sscanf(line, "cut %ld %d", &shared->cut, &shared->tear) == 2) {
                shared->ops = 0;
            } else if (!strncmp(line, "run", 3)) {
                unsigned reason = 0, signature = 0;
                runs = true;
                by_software = sscanf(line, "run %x %x", &reason, &signature) == 2;
                ((uint16_t *)SRAM_BASE)[0] = reason;
                ((uint16_t *)SRAM_BASE)[1] = signature;
            }
            /* The rest is for an AppLoader that does not wait any more. */
            continue;
        }
        resets++;
        pid_t child = fork();
        if (child == 0) {
            alarm(10);
            EMU->RSTCAUSE = by_software ? EMU_RSTCAUSE_SYSREQ : 0;
            SystemInit2();
            alarm(5);
            bootloader_main();
            abort();
        }
        int status;
        waitpid(child, &status, 0);
        if (!WIFEXITED(status)) {
            fprintf(stderr, "%s: signal %d\n", argv[1], WTERMSIG(status));
            return 1;
        }
        runs = WEXITSTATUS(status) == RESET;
        by_software = true;
        switch (WEXITSTATUS(status)) {
        case APP: out("app"); left(); break;
        case RESET:
            out("reset %04x %04x", ((uint16_t *)SRAM_BASE)[0], ((uint16_t *)SRAM_BASE)[1]);
            /* There is no first stage here. */
            if (((uint16_t *)SRAM_BASE)[0] == BOOTLOADER_RESET_REASON_UPGRADE) {
                out("bootloader");
                left();
                out("power");
                shared->cut = -1;
                runs = false;
            }
            break;
        case POWER: out("power"); shared->cut = -1; break;
        case HALT: out("halt"); left(); break;
        case WAITS: out("waits"); break;
        }
    }
    printf("]}\n");
    return 0;
}
