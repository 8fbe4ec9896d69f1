// What the parser of the Gecko Bootloader says about a file. Built by record.py.
//
// usage: record FILE KEY HOLDS    the AES key in 32 digits; whether the signature holds, 0 or 1
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "config/btl_config.h"

#include "api/btl_interface.h"
#include "parser/gbl/btl_gbl_parser.h"
#include "security/btl_security_types.h"

#define APPLICATION 0x08012000u
#define FLASH_END 0x08080000u

static uint8_t key[16];
static int holds;

uint32_t btl_crc32Stream(const uint8_t *bytes, size_t length, uint32_t crc)
{
  for (size_t at = 0; at < length; at++) {
    crc ^= bytes[at];
    for (int bit = 0; bit < 8; bit++) crc = crc & 1 ? crc >> 1 ^ 0xEDB88320u : crc >> 1;
  }
  return crc;
}

void btl_initAesCcm(void *context, uint8_t flags, uint8_t *nonce, uint32_t counter, const uint8_t *aes_key, unsigned bits)
{
  AesCtrContext_t *aes = context;
  memset(aes, 0, sizeof *aes);
  mbedtls_aes_init(&aes->aes);
  mbedtls_aes_setkey_enc(&aes->aes, aes_key, bits);
  aes->counter[0] = flags;
  memcpy(aes->counter + 1, nonce, 12);
  aes->counter[15] = counter;
}

void btl_processAesCtrData(void *context, const uint8_t *input, uint8_t *output, size_t length)
{
  AesCtrContext_t *aes = context;
  mbedtls_aes_crypt_ctr(&aes->aes, length, &aes->offset, aes->counter, aes->block, input, output);
}

void btl_initSha256(void *context)
{
  mbedtls_sha256_init(&((Sha256Context_t *)context)->context);
  mbedtls_sha256_starts(&((Sha256Context_t *)context)->context, 0);
}

void btl_updateSha256(void *context, const void *data, size_t length)
{
  mbedtls_sha256_update(&((Sha256Context_t *)context)->context, data, length);
}

void btl_finalizeSha256(void *context)
{
  mbedtls_sha256_finish(&((Sha256Context_t *)context)->context, ((Sha256Context_t *)context)->sha);
}

static void show(const uint8_t *bytes, size_t length)
{
  while (length--) printf("%02x", *bytes++);
  putchar(' ');
}

int32_t btl_verifyEcdsaP256r1(const uint8_t *sha, const uint8_t *r, const uint8_t *s, const uint8_t *x, const uint8_t *y)
{
  printf("signature ");
  show(sha, 32);
  show(r, 32);
  show(s, 32);
  putchar('\n');
  return holds ? BOOTLOADER_OK : BOOTLOADER_ERROR_SECURITY_REJECTED;
}

const uint8_t *btl_getSignedBootloaderKeyXPtr(void) { return key; }
const uint8_t *btl_getSignedBootloaderKeyYPtr(void) { return key; }
const uint8_t *btl_getImageFileEncryptionKeyPtr(void) { return key; }
uint32_t bootload_getBootloaderVersion(void) { return 0x02040000; }
bool bootload_getApplicationVersion(uint32_t *version) { *version = 4; return true; }
bool bootload_getSeVersion(uint32_t *version) { *version = 0x00010203; return true; }

static void program(uint32_t address, uint8_t *data, size_t length, void *context)
{
  if (address >= APPLICATION && length <= FLASH_END - APPLICATION && address <= FLASH_END - length)
    memcpy((void *)address, data, length);
}

static void metadata(uint32_t address, uint8_t *data, size_t length, void *context) {}

static void end(int number)
{
  puts(number == SIGALRM ? "hangs" : "crashes");
  fflush(stdout);
  _exit(0);
}

int main(int count, char **arguments)
{
  static uint8_t file[1 << 20];
  static ParserContext_t context;
  static AesCtrContext_t aes;
  static Sha256Context_t sha;
  static ImageProperties_t properties = { .instructions = 0xff };
  static MainBootloaderTable_t table;
  static const BootloaderParserCallbacks_t callbacks = { .applicationCallback = program, .metadataCallback = metadata };
  FILE *input = fopen(arguments[1], "rb");
  size_t length = fread(file, 1, sizeof file, input);
  for (int at = 0; at < 16; at++) sscanf(arguments[2] + 2 * at, "%2hhx", &key[at]);
  holds = arguments[3][0] == '1';

  uint8_t *flash = mmap((void *)FLASH_BASE, FLASH_SIZE, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memset(flash, 0xff, FLASH_SIZE);
  // Word 13 of the bootloader: its properties, without a certificate.
  *(uint32_t *)(flash + 52) = FLASH_BASE + 0x1000;
  memset(flash + 0x1000, 0, 0x100);
  table.startOfAppSpace = (void *)APPLICATION;
  table.endOfAppSpace = (void *)FLASH_END;
  mainBootloaderTable = &table;

  signal(SIGALRM, end);
  signal(SIGSEGV, end);
  signal(SIGABRT, end);
  alarm(1);
  int32_t result = parser_init(&context, &aes, &sha, PARSER_FLAG_PARSE_CUSTOM_TAGS);
  for (size_t at = 0; result == BOOTLOADER_OK && at < length && !properties.imageCompleted; at += 64)
    result = parser_parse(&context, &properties, file + at, length - at < 64 ? length - at : 64, &callbacks);
  if (result == BOOTLOADER_OK) puts(properties.imageCompleted ? "accepted" : "waits");
  else printf("0x%04x\n", (unsigned)result);
  return 0;
}
