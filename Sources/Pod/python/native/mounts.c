#include "mounts.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool leaves(const char *path) {
    for (const char *part = path; part != NULL; part = strchr(part, '/')) {
        part += *part == '/';
        if (strncmp(part, "..", 2) == 0 && (part[2] == 0 || part[2] == '/'))
            return true;
    }
    return false;
}

/* The directory that `list` has for a name of `length` bytes; its length in `found`. */
static const char *look_up(const char *list, const char *name, size_t length, size_t *found) {
    while (list != NULL && *list != 0) {
        const char *end = strchrnul(list, ',');
        if (strncmp(list, name, length) == 0 && list[length] == '=') {
            *found = (size_t)(end - (list + length + 1));
            return list + length + 1;
        }
        list = *end == ',' ? end + 1 : end;
    }
    return NULL;
}

char *mounts_path(const char *dataset, const char *path) {
    static bool was_told;
    const char *list = secure_getenv("KAML_MOUNTS");
    size_t length = 0;
    char *local = NULL;
    const char *mount = look_up(list, dataset, strlen(dataset), &length);
    if (mount == NULL)
        mount = look_up(list, dataset, strcspn(dataset, "@"), &length);
    if (mount == NULL || leaves(path) || asprintf(&local, "%.*s/%s", (int)length, mount, path) < 0)
        return NULL;
    if (!__atomic_exchange_n(&was_told, true, __ATOMIC_RELAXED))
        fprintf(stderr, "kaml: there is no agent: kaml://%s is read from its mount %.*s\n", dataset, (int)length, mount);
    return local;
}

static enum kaml_code failed(const char *local, struct kaml_error *error) {
    enum kaml_code code = errno == ENOENT || errno == ENOTDIR ? KAML_NOT_FOUND
                          : errno == EACCES || errno == EPERM ? KAML_DENIED
                                                              : KAML_UNAVAILABLE;
    *error = (struct kaml_error){.code = code, .position = UINT64_MAX};
    (void)snprintf(error->message, sizeof error->message, "%s: %s", local, strerror(errno));
    (void)snprintf(error->remedy, sizeof error->remedy, "%s", "Look at the mount, or run the node's agent.");
    return code;
}

static enum kaml_file_kind kind_of(mode_t mode) {
    return S_ISREG(mode) ? KAML_FILE_REGULAR : S_ISDIR(mode) ? KAML_FILE_DIRECTORY : KAML_FILE_OTHER;
}

enum kaml_code mounts_stat(const char *local, struct kaml_attributes *attributes, struct kaml_error *error) {
    const int64_t in_second = 1000000000;
    struct stat status;
    if (stat(local, &status) != 0)
        return failed(local, error);
    *attributes = (struct kaml_attributes){
        .kind = kind_of(status.st_mode),
        .bytes = S_ISREG(status.st_mode) ? (uint64_t)status.st_size : 0,
        .modified_ns = (int64_t)status.st_mtim.tv_sec * in_second + status.st_mtim.tv_nsec,
    };
    return KAML_OK;
}

enum kaml_code mounts_list(const char *local,
                           bool (*each)(void *context, const char *name, size_t length, enum kaml_file_kind kind),
                           void *context, struct kaml_error *error) {
    DIR *directory = opendir(local);
    if (directory == NULL)
        return failed(local, error);
    errno = 0;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            !each(context, entry->d_name, strlen(entry->d_name), kind_of((mode_t)DTTOIF(entry->d_type))))
            break;
    enum kaml_code code = errno == 0 ? KAML_OK : failed(local, error);
    closedir(directory);
    return code;
}

enum kaml_code mounts_read(int descriptor, uint64_t offset, void *buffer, size_t length, size_t *count,
                           struct kaml_error *error) {
    *count = 0;
    while (*count < length && offset <= (uint64_t)INT64_MAX - length) {
        ssize_t taken = pread(descriptor, (char *)buffer + *count, length - *count, (off_t)(offset + *count));
        if (taken < 0 && errno == EINTR)
            continue;
        if (taken < 0)
            return failed("a mounted file", error);
        if (taken == 0)
            break;
        *count += (size_t)taken;
    }
    return KAML_OK;
}
