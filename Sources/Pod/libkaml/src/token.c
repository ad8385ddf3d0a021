/* A cursor as text: base64url of a version, the fields little-endian, and a checksum. */
#define _GNU_SOURCE
#include <string.h>

#include "failure.h"
#include "kaml_crc32c.h"

#define TOKEN_VERSION 1
#define MOST_SNAPSHOT_BYTES 32

/* Offsets in version 1. */
enum {
    AT_VERSION = 0,
    AT_ORDER = 1,
    AT_ORDER_VERSION = 2,
    AT_SEED = 6,
    AT_EPOCH = 14,
    AT_ORDINAL = 22,
    AT_BLOCK = 30,
    AT_WINDOW = 38,
    AT_SNAPSHOT_LENGTH = 46,
    AT_SNAPSHOT = 47,
    CHECKSUM_BYTES = 4,
    MOST_BYTES = AT_SNAPSHOT + MOST_SNAPSHOT_BYTES + CHECKSUM_BYTES,
};

_Static_assert((MOST_BYTES * 4 + 2) / 3 < KAML_TOKEN_TEXT, "a token's text");

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void put_number(uint8_t *to, uint64_t number, size_t bytes) {
    for (size_t i = 0; i < bytes; i++)
        to[i] = (uint8_t)(number >> (8 * i));
}

static uint64_t get_number(const uint8_t *from, size_t bytes) {
    uint64_t number = 0;
    for (size_t i = 0; i < bytes; i++)
        number |= (uint64_t)from[i] << (8 * i);
    return number;
}

static int hex_digit(char digit) {
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

/* Length in bytes, or -1 when it is no lower-case hex of whole bytes. */
static int put_hex(uint8_t *to, const char *hex) {
    size_t length = strnlen(hex, KAML_SNAPSHOT_TEXT);
    if (length % 2 != 0 || length / 2 > MOST_SNAPSHOT_BYTES)
        return -1;
    for (size_t i = 0; i < length / 2; i++) {
        int high = hex_digit(hex[2 * i]), low = hex_digit(hex[2 * i + 1]);
        if (high < 0 || low < 0)
            return -1;
        to[i] = (uint8_t)(high << 4 | low);
    }
    return (int)(length / 2);
}

static void get_hex(char *hex, const uint8_t *from, size_t bytes) {
    static const char hex_digits[] = "0123456789abcdef";
    for (size_t i = 0; i < bytes; i++) {
        hex[2 * i] = hex_digits[from[i] >> 4];
        hex[2 * i + 1] = hex_digits[from[i] & 15];
    }
    hex[2 * bytes] = 0;
}

static void put_text(char *text, const uint8_t *bytes, size_t count) {
    uint32_t bits = 0;
    unsigned held = 0;
    for (size_t i = 0; i < count; i++) {
        bits = bits << 8 | bytes[i];
        held += 8;
        while (held >= 6) {
            held -= 6;
            *text++ = digits[bits >> held & 63];
        }
    }
    if (held > 0)
        *text++ = digits[bits << (6 - held) & 63];
    *text = 0;
}

/* Count of bytes, or -1. */
static int get_text(uint8_t *bytes, const char *text) {
    uint32_t bits = 0;
    unsigned held = 0;
    int count = 0;
    for (; *text != 0; text++) {
        const char *digit = strchr(digits, *text);
        if (digit == NULL)
            return -1;
        bits = bits << 6 | (uint32_t)(digit - digits);
        held += 6;
        if (held >= 8) {
            held -= 8;
            if (count == MOST_BYTES)
                return -1;
            bytes[count++] = (uint8_t)(bits >> held);
        }
    }
    return count;
}

enum kaml_code kaml_token_encode(const struct kaml_cursor *cursor, char text[KAML_TOKEN_TEXT],
                                 struct kaml_error *error) {
    uint8_t bytes[MOST_BYTES];
    int length = put_hex(&bytes[AT_SNAPSHOT], cursor->snapshot);
    if (length < 0 || cursor->order > UINT8_MAX)
        return failure(error, KAML_INVALID, FAILURE_FINAL, "Take the cursor from kaml_stream_cursor.",
                       "a cursor whose snapshot is no id in hex");
    bytes[AT_VERSION] = TOKEN_VERSION;
    bytes[AT_ORDER] = (uint8_t)cursor->order;
    put_number(&bytes[AT_ORDER_VERSION], cursor->order_version, sizeof cursor->order_version);
    put_number(&bytes[AT_SEED], cursor->seed, sizeof cursor->seed);
    put_number(&bytes[AT_EPOCH], cursor->epoch, sizeof cursor->epoch);
    put_number(&bytes[AT_ORDINAL], cursor->ordinal, sizeof cursor->ordinal);
    put_number(&bytes[AT_BLOCK], cursor->block, sizeof cursor->block);
    put_number(&bytes[AT_WINDOW], cursor->window, sizeof cursor->window);
    bytes[AT_SNAPSHOT_LENGTH] = (uint8_t)length;
    size_t end = AT_SNAPSHOT + (size_t)length;
    put_number(&bytes[end], kaml_crc32c(0, bytes, end), CHECKSUM_BYTES);
    put_text(text, bytes, end + CHECKSUM_BYTES);
    return KAML_OK;
}

enum kaml_code kaml_token_decode(const char *text, struct kaml_cursor *cursor, struct kaml_error *error) {
    uint8_t bytes[MOST_BYTES];
    int count = get_text(bytes, text);
    if (count >= 1 && bytes[AT_VERSION] > TOKEN_VERSION)
        return failure(error, KAML_UNSUPPORTED, FAILURE_FINAL, "Bring libkaml to the version that wrote the token.",
                       "a token of version %u", bytes[AT_VERSION]);
    size_t end = (size_t)count - CHECKSUM_BYTES;
    if (count < AT_SNAPSHOT + CHECKSUM_BYTES || bytes[AT_VERSION] != TOKEN_VERSION ||
        end != AT_SNAPSHOT + (size_t)bytes[AT_SNAPSHOT_LENGTH] ||
        get_number(&bytes[end], CHECKSUM_BYTES) != kaml_crc32c(0, bytes, end))
        return failure(error, KAML_INVALID, FAILURE_FINAL, "Take the whole token, or begin without one.",
                       "a damaged token");
    get_hex(cursor->snapshot, &bytes[AT_SNAPSHOT], bytes[AT_SNAPSHOT_LENGTH]);
    cursor->order = bytes[AT_ORDER];
    cursor->order_version = (uint32_t)get_number(&bytes[AT_ORDER_VERSION], sizeof cursor->order_version);
    cursor->seed = get_number(&bytes[AT_SEED], sizeof cursor->seed);
    cursor->epoch = get_number(&bytes[AT_EPOCH], sizeof cursor->epoch);
    cursor->ordinal = get_number(&bytes[AT_ORDINAL], sizeof cursor->ordinal);
    cursor->block = get_number(&bytes[AT_BLOCK], sizeof cursor->block);
    cursor->window = get_number(&bytes[AT_WINDOW], sizeof cursor->window);
    return KAML_OK;
}
