/* Where datasets are mounted, by the environment: what kaml:// reads where there is no agent. */
#ifndef KAML_MOUNTS_H
#define KAML_MOUNTS_H

#include <kaml.h>

/* The path below the mount of `dataset` (KAML_MOUNTS is name@ref=/path,name=/path), malloc'ed. NULL when it is not mounted, when
 * `path` leaves it, or when there is no memory. The user is told once for each process. */
char *mounts_path(const char *dataset, const char *path);

/* As kaml_stat, kaml_list and kaml_read, for such a path. `descriptor` is an open file's. */
enum kaml_code mounts_stat(const char *local, struct kaml_attributes *attributes, struct kaml_error *error);
enum kaml_code mounts_list(const char *local,
                           bool (*each)(void *context, const char *name, size_t length, enum kaml_file_kind kind),
                           void *context, struct kaml_error *error);
enum kaml_code mounts_read(int descriptor, uint64_t offset, void *buffer, size_t length, size_t *count,
                           struct kaml_error *error);

#endif
