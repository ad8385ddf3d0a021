/* CRC-32C (Castagnoli), of which TFRecord keeps two for each record. */
#ifndef KAML_CRC32C_H
#define KAML_CRC32C_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The checksum of bytes whose beginning has the checksum `crc`, 0 at first. By the processor's own instruction where it has
 * one. */
uint32_t kaml_crc32c(uint32_t crc, const void *bytes, size_t length);

/* The same without that instruction, for tests. */
uint32_t kaml_crc32c_portable(uint32_t crc, const void *bytes, size_t length);

#ifdef __cplusplus
}
#endif
#endif
