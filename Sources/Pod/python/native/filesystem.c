/* TensorFlow's file system for kaml://dataset@ref/path (or kaml://store:dataset@ref/path): datasets are read-only.
 * What of a name stands before the first slash after the @ is the dataset; without @ what stands before the first slash. */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mounts.h"
#include "tf_api.h"

#define SCHEME "kaml://"

/* The agent, once somebody asks for it. */
struct filesystem {
    pthread_mutex_t lock;
    struct kaml_client *client;
};

/* A name taken apart; one piece of memory. */
struct name {
    char *store;
    char *dataset;
    char *path;
};

/* What a name stands for: a path of the agent's, or of a mount. */
struct target {
    struct name name;
    struct kaml_client *client;
    char *local;
};

struct file {
    struct target target;
    /* Of a mount's file, else -1. */
    int descriptor;
};

static TF_Code tf_code(enum kaml_code code) {
    switch (code) {
    case KAML_OK:
        return TF_OK;
    case KAML_INVALID:
        return TF_INVALID_ARGUMENT;
    case KAML_NOT_FOUND:
        return TF_NOT_FOUND;
    case KAML_DENIED:
        return TF_PERMISSION_DENIED;
    case KAML_EXHAUSTED:
    case KAML_NO_MEMORY:
        return TF_RESOURCE_EXHAUSTED;
    case KAML_CORRUPT:
        return TF_DATA_LOSS;
    case KAML_UNSUPPORTED:
        return TF_UNIMPLEMENTED;
    case KAML_FORKED:
        return TF_FAILED_PRECONDITION;
    case KAML_TIMED_OUT:
        return TF_DEADLINE_EXCEEDED;
    case KAML_UNAVAILABLE:
    case KAML_END:
    case KAML_CLOSED:
    default:
        return TF_UNAVAILABLE;
    }
}

static void set_status(TF_Status *status, enum kaml_code code, const struct kaml_error *error) {
    char text[KAML_MESSAGE_BYTES + KAML_REMEDY_BYTES + 2] = "";
    if (code != KAML_OK)
        (void)snprintf(text, sizeof text, "%s %s", error->message, error->remedy);
    TF_SetStatus(status, tf_code(code), text);
}

/* False, with `status` set, when it is no name of a dataset. */
static bool take_apart(const char *uri, struct name *name, TF_Status *status) {
    const char *begin = strncmp(uri, SCHEME, strlen(SCHEME)) == 0 ? uri + strlen(SCHEME) : uri;
    char *copy = strdup(begin);
    *name = (struct name){0};
    if (copy == NULL) {
        TF_SetStatus(status, TF_RESOURCE_EXHAUSTED, "out of memory");
        return false;
    }
    char *at = strchr(copy, '@');
    char *slash = strchr(at != NULL ? at : copy, '/');
    char *colon = strchr(copy, ':');
    size_t length = slash != NULL ? (size_t)(slash - copy) : strlen(copy);
    /* The name and the store share the memory, with one byte more for the store's own end. */
    name->dataset = copy;
    name->path = copy + length;
    if (slash != NULL) {
        *slash = 0;
        name->path = slash + 1;
    }
    name->store = copy + strlen(copy);
    if (colon != NULL && colon < copy + length) {
        *colon = 0;
        name->store = copy;
        name->dataset = colon + 1;
    }
    while (name->path[0] == '/')
        name->path++;
    for (size_t end = strlen(name->path); end > 0 && name->path[end - 1] == '/'; end--)
        name->path[end - 1] = 0;
    if (name->dataset[0] == 0) {
        free(copy);
        TF_SetStatus(status, TF_INVALID_ARGUMENT, "no dataset in the name; write kaml://dataset@ref/path");
        return false;
    }
    return true;
}

static void drop_name(struct name *name) {
    char *memory = name->store < name->dataset ? name->store : name->dataset;
    free(memory);
}

static enum kaml_code client_of(const TF_Filesystem *filesystem, struct kaml_client **client, struct kaml_error *error) {
    struct filesystem *own = filesystem->plugin_filesystem;
    enum kaml_code code = KAML_OK;
    pthread_mutex_lock(&own->lock);
    if (own->client == NULL)
        code = kaml_connect(NULL, &own->client, error);
    *client = own->client;
    pthread_mutex_unlock(&own->lock);
    return code;
}

static void drop_target(struct target *target) {
    drop_name(&target->name);
    free(target->local);
}

/* False, with `status` set, when it is no name of a dataset, or there is neither an agent nor a mount. */
static bool find_target(const TF_Filesystem *filesystem, const char *uri, struct target *target, TF_Status *status) {
    struct kaml_error error;
    *target = (struct target){0};
    if (!take_apart(uri, &target->name, status))
        return false;
    enum kaml_code code = client_of(filesystem, &target->client, &error);
    if (code == KAML_UNAVAILABLE)
        target->local = mounts_path(target->name.dataset, target->name.path);
    if (code == KAML_OK || target->local != NULL)
        return true;
    set_status(status, code, &error);
    drop_target(target);
    return false;
}

static bool look_at(const struct target *target, struct kaml_attributes *attributes, TF_Status *status) {
    const struct name *name = &target->name;
    struct kaml_error error;
    enum kaml_code code = target->local != NULL
                              ? mounts_stat(target->local, attributes, &error)
                              : kaml_stat(target->client, name->dataset, name->store, name->path, attributes, &error);
    set_status(status, code, &error);
    return code == KAML_OK;
}

static bool get_attributes(const TF_Filesystem *filesystem, const char *uri, struct kaml_attributes *attributes,
                           TF_Status *status) {
    struct target target;
    if (!find_target(filesystem, uri, &target, status))
        return false;
    bool is_there = look_at(&target, attributes, status);
    drop_target(&target);
    return is_there;
}

/* ---- files ---- */

static void close_file(TF_RandomAccessFile *file) {
    struct file *own = file->plugin_file;
    if (own == NULL)
        return;
    if (own->descriptor >= 0)
        close(own->descriptor);
    drop_target(&own->target);
    free(own);
}

static int64_t read_file(const TF_RandomAccessFile *file, uint64_t offset, size_t n, char *buffer, TF_Status *status) {
    const struct file *own = file->plugin_file;
    const struct name *name = &own->target.name;
    struct kaml_error error;
    size_t count = 0;
    enum kaml_code code = own->descriptor >= 0
                              ? mounts_read(own->descriptor, offset, buffer, n, &count, &error)
                              : kaml_read(own->target.client, name->dataset, name->store, name->path, offset, buffer, n,
                                          &count, &error);
    set_status(status, code, &error);
    if (code != KAML_OK)
        return -1;
    if (count < n)
        TF_SetStatus(status, TF_OUT_OF_RANGE, "the file ends here");
    return (int64_t)count;
}

static void open_file(const TF_Filesystem *filesystem, const char *path, TF_RandomAccessFile *file, TF_Status *status) {
    struct kaml_attributes attributes;
    struct target target;
    file->plugin_file = NULL;
    if (!find_target(filesystem, path, &target, status))
        return;
    struct file *own = NULL;
    int descriptor = -1;
    if (look_at(&target, &attributes, status)) {
        own = calloc(1, sizeof *own);
        if (target.local != NULL)
            descriptor = open(target.local, O_RDONLY | O_CLOEXEC);
        if (attributes.kind == KAML_FILE_DIRECTORY)
            TF_SetStatus(status, TF_FAILED_PRECONDITION, "it is a directory");
        else if (own == NULL || (target.local != NULL && descriptor < 0))
            TF_SetStatus(status, TF_RESOURCE_EXHAUSTED, "out of memory or file descriptors");
        else {
            *own = (struct file){.target = target, .descriptor = descriptor};
            file->plugin_file = own;
            return;
        }
    }
    if (descriptor >= 0)
        close(descriptor);
    free(own);
    drop_target(&target);
}

/* ---- names ---- */

static void path_exists(const TF_Filesystem *filesystem, const char *path, TF_Status *status) {
    struct kaml_attributes attributes;
    (void)get_attributes(filesystem, path, &attributes, status);
}

static void get_stat(const TF_Filesystem *filesystem, const char *path, TF_FileStatistics *stats, TF_Status *status) {
    struct kaml_attributes attributes;
    if (!get_attributes(filesystem, path, &attributes, status))
        return;
    stats->length = attributes.bytes > INT64_MAX ? INT64_MAX : (int64_t)attributes.bytes;
    stats->mtime_nsec = attributes.modified_ns;
    stats->is_directory = attributes.kind == KAML_FILE_DIRECTORY;
}

static bool is_directory(const TF_Filesystem *filesystem, const char *path, TF_Status *status) {
    struct kaml_attributes attributes;
    if (!get_attributes(filesystem, path, &attributes, status))
        return false;
    if (attributes.kind != KAML_FILE_DIRECTORY)
        TF_SetStatus(status, TF_FAILED_PRECONDITION, "it is no directory");
    return attributes.kind == KAML_FILE_DIRECTORY;
}

static int64_t get_size(const TF_Filesystem *filesystem, const char *path, TF_Status *status) {
    struct kaml_attributes attributes;
    if (!get_attributes(filesystem, path, &attributes, status))
        return -1;
    if (attributes.kind == KAML_FILE_DIRECTORY) {
        TF_SetStatus(status, TF_FAILED_PRECONDITION, "it is a directory");
        return -1;
    }
    return attributes.bytes > INT64_MAX ? INT64_MAX : (int64_t)attributes.bytes;
}

static void *allocate(size_t size) { return malloc(size); }

static void deallocate(void *memory) { free(memory); }

/* TensorFlow's own would leave the dataset's name out. */
static char *translate_name(const TF_Filesystem *filesystem, const char *uri) {
    (void)filesystem;
    return strdup(uri);
}

struct listing {
    char **names;
    int count;
    int capacity;
    bool is_full;
};

static bool add_name(void *context, const char *name, size_t length, enum kaml_file_kind kind) {
    const int first = 64, most = 1 << 30;
    struct listing *listing = context;
    (void)kind;
    if (listing->count == listing->capacity) {
        int capacity = listing->capacity == 0 ? first : listing->capacity < most ? listing->capacity * 2 : 0;
        char **names = capacity == 0 ? NULL : realloc(listing->names, (size_t)capacity * sizeof *names);
        if (names == NULL) {
            listing->is_full = true;
            return false;
        }
        listing->names = names;
        listing->capacity = capacity;
    }
    char *copy = strndup(name, length);
    if (copy == NULL) {
        listing->is_full = true;
        return false;
    }
    listing->names[listing->count++] = copy;
    return true;
}

static int get_children(const TF_Filesystem *filesystem, const char *path, char ***entries, TF_Status *status) {
    struct target target;
    struct kaml_error error;
    struct listing listing = {0};
    *entries = NULL;
    if (!find_target(filesystem, path, &target, status))
        return -1;
    const struct name *name = &target.name;
    enum kaml_code code =
        target.local != NULL
            ? mounts_list(target.local, add_name, &listing, &error)
            : kaml_list(target.client, name->dataset, name->store, name->path, add_name, &listing, &error);
    drop_target(&target);
    set_status(status, code, &error);
    if (code == KAML_OK && listing.is_full)
        TF_SetStatus(status, TF_RESOURCE_EXHAUSTED, "out of memory for a directory's names");
    if (code != KAML_OK || listing.is_full) {
        for (int i = 0; i < listing.count; i++)
            free(listing.names[i]);
        free(listing.names);
        return -1;
    }
    *entries = listing.names;
    return listing.count;
}

/* ---- what changes something ---- */

static void refuse(TF_Status *status) {
    TF_SetStatus(status, TF_PERMISSION_DENIED,
                 "a dataset's snapshots never change; write elsewhere, and make a new version with `kaml commit`");
}

static void refuse_path(const TF_Filesystem *filesystem, const char *path, TF_Status *status) {
    (void)filesystem;
    (void)path;
    refuse(status);
}

static void refuse_write(const TF_Filesystem *filesystem, const char *path, TF_WritableFile *file, TF_Status *status) {
    file->plugin_file = NULL;
    refuse_path(filesystem, path, status);
}

static void refuse_recursion(const TF_Filesystem *filesystem, const char *path, uint64_t *files, uint64_t *directories,
                             TF_Status *status) {
    *files = *directories = 0;
    refuse_path(filesystem, path, status);
}

static void refuse_rename(const TF_Filesystem *filesystem, const char *from, const char *to, TF_Status *status) {
    (void)to;
    refuse_path(filesystem, from, status);
}

static void close_nothing(TF_WritableFile *file) { (void)file; }

/* ---- the plugin ---- */

static void init(TF_Filesystem *filesystem, TF_Status *status) {
    struct filesystem *own = calloc(1, sizeof *own);
    filesystem->plugin_filesystem = own;
    if (own == NULL) {
        TF_SetStatus(status, TF_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    pthread_mutex_init(&own->lock, NULL);
    TF_SetStatus(status, TF_OK, "");
}

static void cleanup(TF_Filesystem *filesystem) {
    struct filesystem *own = filesystem->plugin_filesystem;
    kaml_close(own->client);
    pthread_mutex_destroy(&own->lock);
    free(own);
}

void TF_InitPlugin(TF_FilesystemPluginInfo *plugin_info) {
    /* TensorFlow copies the tables and frees them with plugin_memory_free. */
    TF_FilesystemPluginOps *ops = calloc(1, sizeof *ops);
    TF_FilesystemOps *names = calloc(1, sizeof *names);
    TF_RandomAccessFileOps *files = calloc(1, sizeof *files);
    TF_WritableFileOps *writes = calloc(1, sizeof *writes);
    char *scheme = strdup("kaml");
    plugin_info->plugin_memory_allocate = allocate;
    plugin_info->plugin_memory_free = deallocate;
    plugin_info->num_schemes = 0;
    if (ops == NULL || names == NULL || files == NULL || writes == NULL || scheme == NULL) {
        free(ops);
        free(names);
        free(files);
        free(writes);
        free(scheme);
        return;
    }
    *names = (TF_FilesystemOps){
        .init = init,
        .cleanup = cleanup,
        .new_random_access_file = open_file,
        .new_writable_file = refuse_write,
        .new_appendable_file = refuse_write,
        .create_dir = refuse_path,
        .recursively_create_dir = refuse_path,
        .delete_file = refuse_path,
        .delete_dir = refuse_path,
        .delete_recursively = refuse_recursion,
        .rename_file = refuse_rename,
        .path_exists = path_exists,
        .stat = get_stat,
        .is_directory = is_directory,
        .get_file_size = get_size,
        .translate_name = translate_name,
        .get_children = get_children,
    };
    *files = (TF_RandomAccessFileOps){.cleanup = close_file, .read = read_file};
    writes->cleanup = close_nothing;
    *ops = (TF_FilesystemPluginOps){
        .scheme = scheme,
        .filesystem_ops_size = sizeof *names,
        .filesystem_ops = names,
        .random_access_file_ops_size = sizeof *files,
        .random_access_file_ops = files,
        .writable_file_ops_size = sizeof *writes,
        .writable_file_ops = writes,
    };
    plugin_info->ops = ops;
    plugin_info->num_schemes = 1;
}
