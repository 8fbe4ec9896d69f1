/* Reads packets in hexadecimal, one a line, with the decoder of the nRF5 SDK and its callback, and writes what it found.
 * Built with what README.md says; nothing of the SDK is in this folder. */
#include <stdio.h>
#include <string.h>
#include <stdlib.h>
#include "pb.h"
#include "pb_common.h"
#include "pb_decode.h"
#include "dfu-cc.pb.h"
static const uint8_t *init_ptr; static size_t init_len; static bool valid;
static void cb(pb_istream_t *s, uint32_t tag, pb_wire_type_t wt, void *it_) {
  pb_field_iter_t *it = it_; (void)tag; (void)wt;
  if (it->pos->ptr != &dfu_init_command_fields[0]) return;
  const uint8_t *p = s->state; size_t n = s->bytes_left;
#ifndef BEFORE_15_3
  if (init_ptr || init_len) { valid = false; return; }
  while (*p & 0x80) { p++; n--; }
#endif
  p++; n--;
  init_ptr = p; init_len = n; valid = true;
}
static void hex(const uint8_t *b, size_t n) { putchar('"'); for (size_t i = 0; i < n; i++) printf("%02x", b[i]); putchar('"'); }
#define OPT(name, has, v) printf(",\"" name "\":"); if (has) printf("%u", (unsigned)(v)); else printf("null");
int main(void) {
  static char line[1 << 16]; static uint8_t buf[4096]; static dfu_packet_t pk;
  while (fgets(line, sizeof line, stdin)) {
    size_t n = 0; for (char *c = line; c[0] && c[1] && c[0] != '\n'; c += 2) { unsigned b; sscanf(c, "%2x", &b); buf[n++] = b; }
    memset(buf + n, 0, 32);
    printf("{\"packet\":"); hex(buf, n);
    memset(&pk, 0, sizeof pk); init_ptr = 0; init_len = 0; valid = false;
    pb_istream_t s = pb_istream_from_buffer(buf, n); s.decoding_callback = (void*)cb;
    dfu_init_command_t *in = NULL; dfu_command_t *cmd = NULL; bool sg = false;
#ifdef BEFORE_15_3
    if (pb_decode(&s, dfu_packet_fields, &pk)) {
      sg = pk.has_signed_command;
      cmd = sg ? &pk.signed_command.command : &pk.command;
      if (cmd->has_init) in = &cmd->init;
    }
#else
    if (pb_decode(&s, dfu_packet_fields, &pk) && valid && !(pk.has_signed_command && pk.has_command)) {
      if (pk.has_signed_command && pk.signed_command.command.has_init) {
        sg = true; cmd = &pk.signed_command.command; in = &cmd->init;
        s = pb_istream_from_buffer(init_ptr, init_len); memset(in, 0, sizeof *in);
        if (!pb_decode(&s, dfu_init_command_fields, in)) in = NULL;
      } else if (pk.has_command && pk.command.has_init) { cmd = &pk.command; in = &cmd->init; }
    }
#endif
    if (!in) { printf(",\"read\":null}\n"); continue; }
    printf(",\"read\":{\"signed\":[%zu,%zu]", (size_t)(init_ptr - buf), (size_t)(init_ptr - buf) + init_len);
    OPT("op_code", cmd->has_op_code, cmd->op_code)
    OPT("fw_version", in->has_fw_version, in->fw_version)
    OPT("hw_version", in->has_hw_version, in->hw_version)
    printf(",\"sd_req\":["); for (int i = 0; i < in->sd_req_count; i++) printf("%s%u", i ? "," : "", in->sd_req[i]); printf("]");
    OPT("type", in->has_type, in->type)
    OPT("sd_size", in->has_sd_size, in->sd_size)
    OPT("bl_size", in->has_bl_size, in->bl_size)
    OPT("app_size", in->has_app_size, in->app_size)
    printf(",\"hash\":"); if (in->has_hash) { printf("[%u,", (unsigned)in->hash.hash_type); hex(in->hash.hash.bytes, in->hash.hash.size); printf("]"); } else printf("null");
    printf(",\"is_debug\":"); uint8_t dbg; memcpy(&dbg, &in->is_debug, 1); if (in->has_is_debug) printf("%s", dbg ? "true" : "false"); else printf("null");
    printf(",\"boot_validation\":[");
#ifndef BEFORE_15_3
    for (int i = 0; i < in->boot_validation_count; i++) { printf("%s[%u,", i ? "," : "", (unsigned)in->boot_validation[i].type); hex(in->boot_validation[i].bytes.bytes, in->boot_validation[i].bytes.size); printf("]"); }
#endif
    printf("]");
    printf(",\"signature\":"); if (sg) { printf("[%u,", (unsigned)pk.signed_command.signature_type); hex(pk.signed_command.signature.bytes, pk.signed_command.signature.size); printf("]"); } else printf("null");
    printf("}}\n");
  }
}
