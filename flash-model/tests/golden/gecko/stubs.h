/* What the bootloader of the Simplicity SDK wants of a chip: an EFR32xG27 with 40 pages of flash, or an EFR32xG1. */
#ifndef STUBS_H
#define STUBS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef SERIES_1
#define _SILICON_LABS_32B_SERIES 1
#define _SILICON_LABS_32B_SERIES_1
#define _SILICON_LABS_GECKO_INTERNAL_SDID 80
#define _SILICON_LABS_GECKO_INTERNAL_SDID_80
#define FLASH_BASE 0UL
#define FLASH_SIZE 0x20000UL
#define FLASH_PAGE_SIZE 0x800UL
#define CRYPTO_PRESENT
#define LOCKBITS_BASE 0x0FE04000UL
#else
#define _SILICON_LABS_32B_SERIES 2
#define _SILICON_LABS_32B_SERIES_2
#define _SILICON_LABS_32B_SERIES_2_CONFIG 7
#define _SILICON_LABS_32B_SERIES_2_CONFIG_7
#define _SILICON_LABS_GECKO_INTERNAL_SDID 230
#define _SILICON_LABS_GECKO_INTERNAL_SDID_230
#define FLASH_BASE 0x08000000UL
#define FLASH_SIZE 0x50000UL
#define FLASH_PAGE_SIZE 0x2000UL
#define CRYPTOACC_PRESENT
#endif
#define USERDATA_BASE FLASH_BASE
#define SRAM_BASE 0x20000000UL
#define SRAM_SIZE 0x8000UL
#define DMA_CHAN_COUNT 8

#define SL_WEAK __attribute__((weak))
#define SL_NORETURN __attribute__((noreturn))
#define SL_ALIGN(n)
#define SL_ATTRIBUTE_ALIGN(n) __attribute__((aligned(n)))
#define SL_MIN(a, b) ((a) < (b) ? (a) : (b))
#define SL_MAX(a, b) ((a) > (b) ? (a) : (b))
#define __STATIC_INLINE static inline
#define __IOM volatile
#define MISRAC_DISABLE
#define MISRAC_ENABLE

typedef int MSC_Status_TypeDef;
enum { mscReturnOk = 0 };
MSC_Status_TypeDef MSC_ErasePage(uint32_t *start);
MSC_Status_TypeDef MSC_WriteWordDma(int channel, uint32_t *address, const void *data, uint32_t len);
MSC_Status_TypeDef MSC_WriteWord(uint32_t *address, const void *data, uint32_t len);

extern struct msc { uint32_t STATUS; } *MSC;
#define MSC_STATUS_BUSY 1
extern struct emu { uint32_t RSTCAUSE; } *EMU;
#define EMU_RSTCAUSE_SYSREQ 1
extern struct scb { uint32_t VTOR; } *SCB;
#define CMU_ClockEnable(clock, on)
enum { cmuClock_LDMA, cmuClock_LDMAXBAR };
static inline void CHIP_Init(void) {}
static inline void fih_delay_init(void) {}
static inline void fih_delay(void) {}
void NVIC_SystemReset(void) SL_NORETURN;
void jumpToApplicationRoutine(uint32_t start) SL_NORETURN;

/* The secure engine. */
typedef struct { uint32_t command, parameters[4]; int count; } sli_se_mailbox_command_t;
typedef uint32_t sli_se_mailbox_response_t;
enum { SLI_SE_COMMAND_APPLY_HOST_IMAGE = 1, SLI_SE_COMMAND_APPLY_SE_IMAGE = 2 };
enum { SLI_SE_RESPONSE_OK = 0, SLI_SE_RESPONSE_INVALID_SIGNATURE = 1 };
#define SLI_SE_MAILBOX_COMMAND_DEFAULT(c) { .command = (c) }
void sli_se_mailbox_command_add_parameter(sli_se_mailbox_command_t *command, uint32_t parameter);
void sli_se_mailbox_execute_command(sli_se_mailbox_command_t *command);
sli_se_mailbox_response_t sli_vse_mailbox_get_version(uint32_t *version);
uint32_t sli_vse_mailbox_read_executed_command(void);
sli_se_mailbox_response_t sli_vse_mailbox_ack_command(sli_se_mailbox_command_t *command);

/* What the AppLoader sets before it enters the application. */
#ifdef BOOTLOADER_APPLOADER
#define __ARM_FEATURE_CMSE 3U
extern struct smu { uint32_t PPUSATD0_SET, PPUSATD1_SET, IEN_CLR, IF_CLR; } *SMU;
extern struct sau { uint32_t CTRL; } *SAU;
enum { _SMU_PPUSATD0_MASK, _SMU_PPUSATD1_MASK, SMU_IEN_PPUSEC, SMU_IEN_BMPUSEC, SMU_IF_PPUSEC, SMU_IF_BMPUSEC, SMU_SECURE_IRQn };
#define __DSB()
#define __ISB()
#define NVIC_DisableIRQ(irq)
#define NVIC_ClearPendingIRQ(irq)
#elif !defined(SERIES_1)
enum { SMU_PPUSATD0_MSC, SMU_PPUSATD0_CMU, SMU_PPUSATD0_HFRCO0, SMU_PPUSATD0_GPIO, SMU_PPUSATD0_GPCRC, SMU_PPUPATD0_LDMA, SMU_PPUSATD0_LDMAXBAR };
#endif
#endif
