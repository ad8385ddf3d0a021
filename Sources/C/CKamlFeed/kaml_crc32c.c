#include "kaml_crc32c.h"

#include <string.h>

/* Slicing by eight (Kounavis, Berry: A Systematic Approach to Building High Performance Software-Based CRC Generators, 2005). */
static uint32_t table[8][256];

static void make_tables(void) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t value = i;
        for (int bit = 0; bit < 8; bit++) value = value >> 1 ^ (value & 1 ? 0x82F63B78u : 0);
        table[0][i] = value;
    }
    for (uint32_t i = 0; i < 256; i++)
        for (int slice = 1; slice < 8; slice++)
            table[slice][i] = table[slice - 1][i] >> 8 ^ table[0][table[slice - 1][i] & 0xFF];
}

static uint32_t by_tables(uint32_t crc, const unsigned char *bytes, size_t length) {
    for (; length >= 8; bytes += 8, length -= 8) {
        uint32_t low = crc ^ ((uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24);
        crc = table[7][low & 0xFF] ^ table[6][low >> 8 & 0xFF] ^ table[5][low >> 16 & 0xFF] ^ table[4][low >> 24] ^
              table[3][bytes[4]] ^ table[2][bytes[5]] ^ table[1][bytes[6]] ^ table[0][bytes[7]];
    }
    for (; length; bytes++, length--) crc = crc >> 8 ^ table[0][(crc ^ *bytes) & 0xFF];
    return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t by_instruction(uint32_t crc, const unsigned char *bytes, size_t length) {
    uint64_t wide = crc;
    for (; length >= 8; bytes += 8, length -= 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        wide = __builtin_ia32_crc32di(wide, word);
    }
    crc = (uint32_t)wide;
    for (; length; bytes++, length--) crc = __builtin_ia32_crc32qi(crc, *bytes);
    return crc;
}
static int has_instruction(void) { return __builtin_cpu_supports("sse4.2"); }
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#define HWCAP_HAS_CRC32 (1u << 7)
__attribute__((target("+crc"))) static uint32_t by_instruction(uint32_t crc, const unsigned char *bytes, size_t length) {
    for (; length >= 8; bytes += 8, length -= 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        crc = __builtin_arm_crc32cd(crc, word);
    }
    for (; length; bytes++, length--) crc = __builtin_arm_crc32cb(crc, *bytes);
    return crc;
}
static int has_instruction(void) { return (getauxval(AT_HWCAP) & HWCAP_HAS_CRC32) != 0; }
#else
static uint32_t by_instruction(uint32_t crc, const unsigned char *bytes, size_t length) { return by_tables(crc, bytes, length); }
static int has_instruction(void) { return 0; }
#endif

static int is_fast;

/* Before main, so that no call needs to look whether the tables are made. */
__attribute__((constructor)) static void prepare(void) {
    make_tables();
    is_fast = has_instruction();
}

uint32_t kaml_crc32c_portable(uint32_t crc, const void *bytes, size_t length) {
    return ~by_tables(~crc, bytes, length);
}

uint32_t kaml_crc32c(uint32_t crc, const void *bytes, size_t length) {
    return ~(is_fast ? by_instruction(~crc, bytes, length) : by_tables(~crc, bytes, length));
}
