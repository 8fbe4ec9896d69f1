/* Runs the boot code of the nRF5 SDK over 24 pages of memory, and loses power at each flash operation. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "stubs.h"
#include "sdk_config.h"
#include "crc32.h"
#include "nrf_bootloader.h"
#include "nrf_bootloader_info.h"
#include "nrf_dfu.h"
#include "nrf_dfu_flash.h"
#include "nrf_dfu_req_handler.h"
#include "nrf_dfu_handling_error.h"
#include "nrf_dfu_types.h"
#include "nrf_dfu_settings.h"
#include "nrf_dfu_transport.h"

#define END 0x18000
#define PAGE 0x1000
/* Memory at its own address; nothing below MBR_SIZE is touched. */
#define FLASH ((uint8_t *)0)
enum { APP, DFU, RESET, POWER_LOSS, FAULT, BRICK };

/* What survives a reset, or is told by the child. */
static struct { long ops, cut; int tear; uint8_t gpregret; int uploads; char answers[256]; } *shared;

static uint8_t init[512], image[END];
static uint32_t init_len, image_len;

ficr_t *NRF_FICR; power_t power; power_t *NRF_POWER = &power;
const uint8_t pk[64];
int g_nrf_crypto_hash_sha256_info, g_nrf_crypto_ecc_secp256r1_curve_info;

static int cut_here(void) { return shared->ops++ == shared->cut; }

static void program(uint32_t address, const uint8_t *from, uint32_t len)
{
    int cut = cut_here();
    uint32_t reached = !cut ? len : shared->tear == 0 ? 0 : shared->tear == 1 ? len / 2 : len - 1;
    for (uint32_t i = 0; i < reached; i++) FLASH[address + i] &= from[i];
    if (cut) _exit(POWER_LOSS);
}

static void erase(uint32_t address)
{
    int cut = cut_here();
    uint32_t from = cut && shared->tear == 2 ? PAGE / 2 : 0;
    uint32_t to = !cut || shared->tear == 2 ? PAGE : shared->tear == 1 ? PAGE / 2 : 0;
    for (uint32_t i = from; i < to; i++) FLASH[address + i] = 0xff;
    if (cut) _exit(POWER_LOSS);
}

/* One operation for each page: words are programmed one after the other. */
static void store(uint32_t address, const uint8_t *from, uint32_t len)
{
    len = len / 4 * 4;
    while (len > 0) {
        uint32_t now = MIN(len, PAGE - address % PAGE);
        program(address, from, now);
        address += now; from += now; len -= now;
    }
}

ret_code_t nrf_dfu_flash_init(bool irq) { return NRF_SUCCESS; }
ret_code_t nrf_dfu_flash_store(uint32_t dest, void const *src, uint32_t len, nrf_dfu_flash_callback_t callback)
{
    store(dest, src, len);
    if (callback) callback((void *)src);
    return NRF_SUCCESS;
}
ret_code_t nrf_dfu_flash_erase(uint32_t address, uint32_t pages, nrf_dfu_flash_callback_t callback)
{
    for (uint32_t i = 0; i < pages; i++) erase(address + i * PAGE);
    if (callback) callback(NULL);
    return NRF_SUCCESS;
}
void nrf_nvmc_page_erase(uint32_t address) { erase(address); }
void nrf_nvmc_write_words(uint32_t address, const uint32_t *src, uint32_t words) { store(address, (const uint8_t *)src, words * 4); }
uint32_t sd_flash_write(uint32_t *dst, const uint32_t *src, uint32_t size) { return 0; }
bool nrf_fstorage_is_busy(void *fs) { return false; }

/* The record of brickproof: the MBR itself is closed. */
typedef struct { uint32_t magic, source, words, crc; } record_t;
uint32_t sd_mbr_command(sd_mbr_command_t *command)
{
    record_t record = { 0x434f5059, (uint32_t)(uintptr_t)command->params.copy_bl.bl_src, command->params.copy_bl.bl_len };
    record.crc = crc32_compute((uint8_t *)&record, 12, NULL);
    erase(NRF_MBR_PARAMS_PAGE_ADDRESS);
    program(NRF_MBR_PARAMS_PAGE_ADDRESS, (uint8_t *)&record, sizeof(record));
    _exit(RESET);
}
static void mbr(void)
{
    record_t record;
    memcpy(&record, FLASH + NRF_MBR_PARAMS_PAGE_ADDRESS, sizeof(record));
    if (record.magic == 0x434f5059 && record.crc == crc32_compute((uint8_t *)&record, 12, NULL)) {
        uint32_t len = record.words * 4;
        if (memcmp(FLASH + BOOTLOADER_START_ADDR, FLASH + record.source, len) != 0)
            for (uint32_t at = 0; at < len; at += PAGE) {
                erase(BOOTLOADER_START_ADDR + at);
                program(BOOTLOADER_START_ADDR + at, FLASH + record.source + at, MIN(PAGE, len - at));
            }
    }
}

uint32_t nrf_power_resetreas_get(void) { return 0; }
void nrf_power_resetreas_clear(uint32_t x) {}
uint8_t nrf_power_gpregret_get(void) { return shared->gpregret; }
void nrf_power_gpregret_set(uint8_t x) { shared->gpregret = x; }
uint8_t nrf_power_gpregret2_get(void) { return 0; }
void nrf_power_gpregret2_set(uint8_t x) {}
void nrf_delay_ms(uint32_t x) {}
uint32_t sd_app_evt_wait(void) { return 0; }
const char *nrf_strerror_get(ret_code_t x) { return ""; }
void app_error(void) { _exit(FAULT); }
void NVIC_SystemReset(void) { _exit(RESET); }
void nrf_bootloader_wdt_init(void) {}
void nrf_bootloader_wdt_feed(void) {}
void nrf_bootloader_debug_port_disable(void) {}
void nrf_bootloader_dfu_inactivity_timer_restart(uint32_t ticks, void (*callback)(void)) {}
void nrf_bootloader_app_start(void) { _exit(APP); }

ret_code_t nrf_crypto_init(void) { return 0; }
ret_code_t nrf_crypto_ecc_public_key_from_raw(int *c, nrf_crypto_ecc_public_key_t *k, uint8_t const *p, size_t n) { return 0; }
/* The signatures of the recordings are right. */
ret_code_t nrf_crypto_ecdsa_verify(nrf_crypto_ecdsa_verify_context_t *v, nrf_crypto_ecc_public_key_t *k, uint8_t const *h, size_t hn, uint8_t const *s, size_t sn) { return 0; }
void nrf_crypto_internal_double_swap_endian(uint8_t *o, uint8_t const *i, size_t n) {}
void nrf_crypto_internal_double_swap_endian_in_place(uint8_t *p, size_t n) {}
void nrf_crypto_internal_swap_endian(uint8_t *o, uint8_t const *i, size_t n) { for (size_t k = 0; k < n; k++) o[k] = i[n - 1 - k]; }

#define ROR(x, n) ((x) >> (n) | (x) << (32 - (n)))
static uint32_t fractional(double x) { return (uint32_t)((x - (uint64_t)x) * 4294967296.0); }
double sqrt(double), cbrt(double);
ret_code_t nrf_crypto_hash_calculate(nrf_crypto_hash_context_t *c, int *info, uint8_t const *data, size_t len, uint8_t *out, size_t *out_len)
{
    uint32_t h[8], k[64];
    if (!data) return 1; // nrf_crypto_hash_update of the SDK: NRF_ERROR_CRYPTO_INPUT_NULL, also for no bytes
    for (int n = 0, p = 2; n < 64; p++) {
        int prime = 1;
        for (int d = 2; d * d <= p; d++) prime &= p % d != 0;
        if (!prime) continue;
        if (n < 8) h[n] = fractional(sqrt(p));
        k[n++] = fractional(cbrt(p));
    }
    for (size_t at = 0; at < (len + 9 + 63) / 64 * 64; at += 64) {
        uint32_t w[64], v[8];
        for (int i = 0; i < 64; i++) {
            size_t pos = at + i, total = (len + 9 + 63) / 64 * 64;
            uint8_t byte = pos < len ? data[pos] : pos == len ? 0x80 : pos >= total - 8 ? (uint8_t)((uint64_t)len * 8 >> 8 * (total - 1 - pos)) : 0;
            w[i / 4] = i % 4 ? w[i / 4] << 8 | byte : byte;
        }
        for (int i = 16; i < 64; i++) {
            uint32_t a = w[i - 15], b = w[i - 2];
            w[i] = w[i - 16] + (ROR(a, 7) ^ ROR(a, 18) ^ a >> 3) + w[i - 7] + (ROR(b, 17) ^ ROR(b, 19) ^ b >> 10);
        }
        memcpy(v, h, sizeof(v));
        for (int i = 0; i < 64; i++) {
            uint32_t t = v[7] + (ROR(v[4], 6) ^ ROR(v[4], 11) ^ ROR(v[4], 25)) + ((v[4] & v[5]) ^ (~v[4] & v[6])) + k[i] + w[i];
            uint32_t u = (ROR(v[0], 2) ^ ROR(v[0], 13) ^ ROR(v[0], 22)) + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
            memmove(v + 1, v, 28);
            v[4] += t; v[0] = t + u;
        }
        for (int i = 0; i < 8; i++) h[i] += v[i];
    }
    for (int i = 0; i < 32; i++) out[i] = h[i / 4] >> (24 - 8 * (i % 4));
    return 0;
}

static void answer(nrf_dfu_response_t *res, void *context)
{
    char *end = shared->answers + strlen(shared->answers);
    sprintf(end, "%02x", res->result);
    if (res->result == NRF_DFU_RES_CODE_EXT_ERROR) sprintf(end + 2, "%02x", ext_error_get());
    strcat(end, " ");
}
static void written(void *p) {}
static void request(nrf_dfu_op_t op, uint32_t type, uint32_t size, uint8_t *data, uint32_t len)
{
    nrf_dfu_request_t req = { .request = op };
    req.callback.response = answer;
    req.callback.write = written;
    if (op == NRF_DFU_OP_OBJECT_CREATE) { req.create.object_type = type; req.create.object_size = size; }
    if (op == NRF_DFU_OP_OBJECT_WRITE) { req.write.p_data = data; req.write.len = len; }
    nrf_dfu_req_handler_on_req(&req);
}
uint32_t app_sched_event_put(void const *p, uint16_t n, app_sched_event_handler_t handler) { handler((void *)p, n); return 0; }
void app_sched_execute(void)
{
    if (shared->uploads++ > 0) _exit(DFU);
    request(NRF_DFU_OP_OBJECT_CREATE, NRF_DFU_OBJ_TYPE_COMMAND, init_len, NULL, 0);
    request(NRF_DFU_OP_OBJECT_WRITE, 0, 0, init, init_len);
    request(NRF_DFU_OP_OBJECT_EXECUTE, 0, 0, NULL, 0);
    for (uint32_t at = 0; at < image_len; at += PAGE) {
        uint32_t len = MIN(PAGE, image_len - at);
        request(NRF_DFU_OP_OBJECT_CREATE, NRF_DFU_OBJ_TYPE_DATA, len, NULL, 0);
        request(NRF_DFU_OP_OBJECT_WRITE, 0, 0, image + at, len);
        request(NRF_DFU_OP_OBJECT_EXECUTE, 0, 0, NULL, 0);
    }
    _exit(DFU);
}
uint32_t nrf_dfu_init(nrf_dfu_observer_t observer)
{
    if (!SD_PRESENT) return NRF_ERROR_INTERNAL;
    return nrf_dfu_req_handler_init(observer);
}

/* From power-on until something starts or power is lost. */
static int session(char *story)
{
    for (int boots = 0; boots < 6; boots++) {
        int status;
        fflush(stdout);
        pid_t child = fork();
        if (child == 0) { mbr(); nrf_bootloader_init(NULL); _exit(FAULT); }
        waitpid(child, &status, 0);
        int code = WIFEXITED(status) ? WEXITSTATUS(status) : FAULT;
        strcat(story, (const char *[]){ "app", "dfu", "reset,", "cut", "fault", "brick" }[code]);
        if (code != RESET) return code;
    }
    return RESET;
}

static uint32_t load(const char *dir, const char *name, uint8_t *to, uint32_t max)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *file = fopen(path, "rb");
    if (!file) { perror(path); exit(1); }
    uint32_t len = fread(to, 1, max, file);
    fclose(file);
    return len;
}

int main(int argc, char **argv)
{
    static uint8_t start[END];
    uint8_t *flash = mmap((void *)0x1000, END - 0x1000, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (flash == MAP_FAILED || shared == MAP_FAILED) { perror("mmap"); return 1; }
    load(argv[2], "flash.bin", start, END);
    init_len = load(argv[2], "init.bin", init, sizeof(init));
    image_len = load(argv[2], "image.bin", image, sizeof(image));
    if (argc > 3) {
        /* Only what the uploader is told. */
        char story[256] = "";
        memcpy(flash, start + 0x1000, END - 0x1000);
        shared->gpregret = 0xb1; shared->cut = -1;
        session(story);
        printf("{\"case\":\"%s\",\"answers\":\"%s\"}\n", argv[1], shared->answers);
        return 0;
    }
    for (int tear = 0; tear < 3; tear++)
        for (long cut = 0;; cut++) {
            char story[256] = "", after[256] = "";
            memcpy(flash, start + 0x1000, END - 0x1000);
            memset(shared, 0, sizeof(*shared));
            shared->gpregret = 0xb1; shared->cut = cut; shared->tear = tear;
            int code = session(story);
            char answers[256];
            strcpy(answers, shared->answers);
            uint32_t left = crc32_compute(flash, END - 0x1000, NULL);
            /* Power comes back, and nobody uploads. */
            static uint8_t copy[END];
            memcpy(copy, flash, END - 0x1000);
            shared->ops = 0; shared->cut = -1; shared->gpregret = 0; shared->uploads = 1;
            session(after);
            long after_ops = shared->ops;
            uint32_t end = crc32_compute(flash, END - 0x1000, NULL);
            /* The same with a second power loss on the way, and a third session. */
            uint32_t second = 0;
            if (after_ops > 0) {
                char unused[256] = "";
                memcpy(flash, copy, END - 0x1000);
                shared->ops = 0; shared->cut = cut % after_ops; shared->tear = (tear + 1) % 3; shared->gpregret = 0;
                session(unused);
                shared->ops = 0; shared->cut = -1; shared->gpregret = 0;
                session(unused);
                second = crc32_compute(flash, END - 0x1000, NULL);
            }
            printf("{\"case\":\"%s\",\"tear\":%d,\"cut\":%ld,\"story\":\"%s\",\"answers\":\"%s\",\"left\":\"%08x\",\"after\":\"%s\",\"operations\":%ld,\"end\":\"%08x\",\"second\":\"%08x\"}\n",
                argv[1], tear, cut, story, answers, left, after, after_ops, end, second);
            if (code != POWER_LOSS) break;
        }
    return 0;
}
