/* What the boot code of the nRF5 SDK needs of the rest of the SDK, of the chip and of the crypto library. */
#ifndef STUBS_H
#define STUBS_H
#include <stdint.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
typedef uint32_t ret_code_t;
#define NRF_SUCCESS 0
#define NRF_ERROR_INTERNAL 3
#define NRF_ERROR_NO_MEM 4
#define NRF_ERROR_NOT_FOUND 5
#define NRF_ERROR_INVALID_PARAM 7
#define NRF_ERROR_INVALID_STATE 8
#define NRF_ERROR_INVALID_LENGTH 9
#define NRF_ERROR_INVALID_DATA 11
#define NRF_ERROR_NULL 14
#define NRF_ERROR_FORBIDDEN 15
#define NRF_ERROR_BUSY 17
#define UNUSED_PARAMETER(x) (void)(x)
#define UNUSED_RETURN_VALUE(x) (void)(x)
#define UNUSED_VARIABLE(x) (void)(x)
#define STATIC_ASSERT(...)
#define ASSERT(x)
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define CEIL_DIV(A, B) (((A) + (B) - 1) / (B))
#define ALIGN_NUM(alignment, number) ((number - 1) + alignment - ((number - 1) % alignment))
#define ANON_UNIONS_ENABLE struct semicolon_swallower
#define ANON_UNIONS_DISABLE struct semicolon_swallower
#define __ALIGN(n) __attribute__((aligned(n)))
#define __WEAK __attribute__((weak))
#define APP_ERROR_CHECK(x) do { if ((x) != 0) app_error(); } while (0)
void app_error(void);
#define VERIFY_PARAM_NOT_NULL(x)
#define VERIFY_SUCCESS(x)
#define NRF_MODULE_ENABLED(m) 1
#define NRF_LOG_MODULE_REGISTER() struct semicolon_swallower
#define NRF_LOG_DEBUG(...)
#define NRF_LOG_INFO(...)
#define NRF_LOG_WARNING(...) do {} while (0);
#define NRF_LOG_ERROR(...) do {} while (0);
#define NRF_LOG_HEXDUMP_DEBUG(...)
#define NRF_LOG_FLUSH()
#define NRF_LOG_FINAL_FLUSH()
#define NRF_LOG_PROCESS() 1
#undef NRF_LOG_INFO
#define NRF_LOG_INFO(...) do {} while (0);
#undef NRF_LOG_DEBUG
#define NRF_LOG_DEBUG(...) do {} while (0);
void NVIC_SystemReset(void);
typedef struct { uint32_t PART, VARIANT, RAM, FLASH; } ficr_info_t;
typedef struct { ficr_info_t INFO; uint32_t CODEPAGESIZE; } ficr_t;
extern ficr_t *NRF_FICR;
typedef struct { volatile uint32_t RESETREAS; } power_t;
extern power_t *NRF_POWER;
#define POWER_RESETREAS_RESETPIN_Msk 1
#define NRF_POWER_RESETREAS_OFF_MASK 0x10000
uint32_t nrf_power_resetreas_get(void);
void nrf_power_resetreas_clear(uint32_t);
uint8_t nrf_power_gpregret_get(void);
void nrf_power_gpregret_set(uint8_t);
uint8_t nrf_power_gpregret2_get(void);
void nrf_power_gpregret2_set(uint8_t);
void nrf_delay_ms(uint32_t);
uint32_t sd_app_evt_wait(void);
void nrf_nvmc_page_erase(uint32_t address);
void nrf_nvmc_write_words(uint32_t address, const uint32_t *src, uint32_t num_words);
uint32_t sd_flash_write(uint32_t *dst, const uint32_t *src, uint32_t size);
const char *nrf_strerror_get(ret_code_t);
#define APP_SCHED_INIT(a, b)
typedef void (*app_sched_event_handler_t)(void *, uint16_t);
uint32_t app_sched_event_put(void const *, uint16_t, app_sched_event_handler_t);
void app_sched_execute(void);
/* fstorage */
typedef enum { NRF_FSTORAGE_EVT_READ_RESULT, NRF_FSTORAGE_EVT_WRITE_RESULT, NRF_FSTORAGE_EVT_ERASE_RESULT } nrf_fstorage_evt_id_t;
typedef struct { nrf_fstorage_evt_id_t id; ret_code_t result; uint32_t addr; void const *p_src; uint32_t len; void *p_param; } nrf_fstorage_evt_t;
bool nrf_fstorage_is_busy(void *);
/* crypto */
#define NRF_CRYPTO_HASH_SIZE_SHA256 32
#define NRF_CRYPTO_ECDSA_SECP256R1_SIGNATURE_SIZE 64
typedef struct { int x; } nrf_crypto_ecc_public_key_t, nrf_crypto_hash_context_t, nrf_crypto_ecdsa_verify_context_t;
typedef uint8_t nrf_crypto_ecdsa_secp256r1_signature_t[64];
typedef uint8_t nrf_crypto_hash_sha256_digest_t[32];
extern int g_nrf_crypto_hash_sha256_info, g_nrf_crypto_ecc_secp256r1_curve_info;
ret_code_t nrf_crypto_init(void);
ret_code_t nrf_crypto_hash_calculate(nrf_crypto_hash_context_t *, int *, uint8_t const *, size_t, uint8_t *, size_t *);
ret_code_t nrf_crypto_ecc_public_key_from_raw(int *, nrf_crypto_ecc_public_key_t *, uint8_t const *, size_t);
ret_code_t nrf_crypto_ecdsa_verify(nrf_crypto_ecdsa_verify_context_t *, nrf_crypto_ecc_public_key_t *, uint8_t const *, size_t, uint8_t const *, size_t);
void nrf_crypto_internal_double_swap_endian(uint8_t *, uint8_t const *, size_t);
void nrf_crypto_internal_double_swap_endian_in_place(uint8_t *, size_t);
void nrf_crypto_internal_swap_endian(uint8_t *, uint8_t const *, size_t);
/* ble_gap */
typedef struct { uint8_t b[23]; } ble_gap_id_key_t;
typedef struct { uint16_t w[14]; } ble_gap_enc_key_t;
/* mbr */
#define MBR_SIZE 0x1000
#define MBR_PAGE_SIZE_IN_WORDS 1024
#define SD_MBR_COMMAND_COPY_BL 0
#define SD_MBR_COMMAND_INIT_SD 2
#define SD_MBR_COMMAND_IRQ_FORWARD_ADDRESS_SET 6
typedef struct { uint32_t *bl_src; uint32_t bl_len; } copy_bl_t;
typedef struct { uint32_t command; union { copy_bl_t copy_bl; struct { uint32_t address; } irq_forward_address_set; } params; } sd_mbr_command_t;
uint32_t sd_mbr_command(sd_mbr_command_t *);
#define NRF_SECTION_DEF(a, b)
#define APP_TIMER_TICKS(x) (x)
#endif
