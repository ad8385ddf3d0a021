/* Cache files that stay mapped until the process ends, since somebody has pointers into them (kaml_batch_pin): whoever is
 * lent one again finds it here, in a client and all its streams, and need not map it once more. Thread-safe. */
#ifndef KAML_MAPPINGS_H
#define KAML_MAPPINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct mapping {
    /* The file. Its inode is not used for another as long as it is mapped. */
    dev_t device;
    ino_t inode;
    const uint8_t *base;
    uint64_t bytes;
    /* As in struct segment. */
    uint32_t *populated;
};

struct mappings;

/* With one reference; NULL when there is no memory. */
struct mappings *mappings_create(void);
struct mappings *mappings_retain(struct mappings *mappings);
/* The last reference frees what is known of the mappings, not the mappings. NULL does nothing. */
void mappings_release(struct mappings *mappings);

/* Whether the file is there, at least so long; then `mapping` is it. */
bool mappings_find(struct mappings *mappings, dev_t device, ino_t inode, uint64_t bytes, struct mapping *mapping);
/* Takes the mapping over, `populated` with it. False when the file is there already, or there is no memory. */
bool mappings_add(struct mappings *mappings, const struct mapping *mapping);

#endif
