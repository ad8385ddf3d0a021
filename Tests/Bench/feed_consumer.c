/* One consumer of a feed through libkaml, and what bounds it: reads of a warm mapping and memcpy. Prints JSON.
 *
 *   feed_consumer feed SOCKET DATASET FORMAT BATCH PLANE SECONDS   FORMAT: tfrecord|files|fixed, PLANE: any|slots|mapped
 *   feed_consumer epoch SOCKET DATASET BATCH STOP [TOKEN]          numbers of records, and a token where it stopped
 *   feed_consumer map FILE SECONDS
 *   feed_consumer copy FILE SLOT-BYTES SLOTS SECONDS
 */
#include <fcntl.h>
#include <kaml.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static volatile uint64_t sink;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static double cpu(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
        + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* One load for each cache line: every byte comes from memory. */
static void touch(const void *data, size_t length) {
    const char *bytes = data;
    uint64_t sum = 0;
    for (size_t at = 0; at + 8 <= length; at += 64) {
        uint64_t word;
        memcpy(&word, bytes + at, 8);
        sum += word;
    }
    sink += sum;
}

static void fail(const struct kaml_error *error) {
    fprintf(stderr, "%s: %s. %s\n", kaml_code_name(error->code), error->message, error->remedy);
    exit(1);
}

static struct kaml_stream *open_stream(const char *socket, struct kaml_stream_options *options) {
    struct kaml_error error = {0};
    struct kaml_client *client;
    struct kaml_stream *stream;
    struct kaml_options how = {.size = sizeof how, .socket = socket, .program = "feed_consumer"};
    if (kaml_connect(&how, &client, &error)) fail(&error);
    if (kaml_stream_open(client, options, &stream, &error)) fail(&error);
    kaml_close(client);
    return stream;
}

static void feed(char **words) {
    static const char *formats[] = {"", "tfrecord", "files", "tar", "jsonl", "fixed"};
    static const char *planes[] = {"any", "slots", "mapped"};
    struct kaml_stream_options options = {.size = sizeof options, .dataset = words[1], .epochs = 0};
    for (unsigned i = 0; i < 6; i++) if (!strcmp(words[2], formats[i])) options.format = (enum kaml_format)i;
    for (unsigned i = 0; i < 3; i++) if (!strcmp(words[4], planes[i])) options.plane = (enum kaml_plane)i;
    options.batch_size = (uint32_t)atoi(words[3]);
    options.drop_remainder = true;
    double seconds = atof(words[5]), opening = now();
    struct kaml_stream *stream = open_stream(words[0], &options);
    struct kaml_error error = {0};
    uint64_t records = 0, bytes = 0, batches = 0, mapped = 0;
    double first = 0, start = 0, begin = 0;
    for (;;) {
        struct kaml_batch *batch;
        if (kaml_stream_next(stream, 60000000000u, &batch, &error)) fail(&error);
        struct kaml_column_data column;
        kaml_batch_column(batch, 0, &column);
        uint32_t count = kaml_batch_records(batch);
        if (column.values)
            for (uint32_t i = 0; i < count; i++) {
                touch(column.values[i].data, column.values[i].length);
                bytes += column.values[i].length;
            }
        else {
            size_t length = (size_t)count * column.width;
            touch(column.dense, length);
            bytes += length;
        }
        mapped += kaml_batch_is_mapped(batch);
        kaml_batch_release(batch);
        if (!first) first = now() - opening;
        /* What is cold, mapped or made at the begin does not count. */
        if (!start && now() - opening > 1.5) start = now(), begin = cpu(), records = bytes = batches = 0;
        else if (start) records += count, batches++;
        if (start && now() - start > seconds) break;
    }
    double took = now() - start;
    printf("{\"records\": %llu, \"bytes\": %llu, \"batches\": %llu, \"seconds\": %.6f, \"cpu\": %.3f, \"first\": %.6f, "
           "\"mapped\": %s}\n", (unsigned long long)records, (unsigned long long)bytes, (unsigned long long)batches, took,
           cpu() - begin, first, mapped ? "true" : "false");
    fflush(stdout);
    /* Whoever wants to look at the process's memory does it now. */
    if (getenv("FEED_CONSUMER_WAITS")) (void)!read(0, &(char){0}, 1);
    kaml_stream_close(stream);
}

static void epoch(char **words) {
    struct kaml_error error = {0};
    struct kaml_cursor cursor = {.seed = 7};
    if (words[4] && kaml_token_decode(words[4], &cursor, &error)) fail(&error);
    struct kaml_stream_options options = {.size = sizeof options, .dataset = words[1], .epochs = 1, .cursor = &cursor,
                                          .format = KAML_FORMAT_TFRECORD, .batch_size = (uint32_t)atoi(words[2])};
    uint64_t stop = strtoull(words[3], NULL, 10), position = 0;
    double opening = now(), first = 0;
    struct kaml_stream *stream = open_stream(words[0], &options);
    printf("{\"numbers\": [");
    for (; position < stop; position++) {
        struct kaml_batch *batch;
        enum kaml_code code = kaml_stream_next(stream, 60000000000u, &batch, &error);
        if (code == KAML_END) break;
        if (code) fail(&error);
        if (!first) first = now() - opening;
        struct kaml_column_data column;
        kaml_batch_column(batch, 0, &column);
        for (uint32_t i = 0; i < kaml_batch_records(batch); i++) {
            uint64_t number;
            memcpy(&number, column.values[i].data, 8);
            printf("%s%llu", position || i ? ", " : "", (unsigned long long)number);
        }
        kaml_batch_release(batch);
    }
    char token[KAML_TOKEN_TEXT] = "";
    if (!kaml_stream_cursor(stream, position, &cursor, &error)) kaml_token_encode(&cursor, token, NULL);
    printf("], \"first\": %.6f, \"token\": \"%s\"}\n", first, token);
    kaml_stream_close(stream);
}

static void *map(const char *path, size_t *size) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (file < 0 || fstat(file, &status)) perror(path), exit(1);
    *size = (size_t)status.st_size;
    void *bytes = mmap(NULL, *size, PROT_READ, MAP_SHARED | MAP_POPULATE, file, 0);
    if (bytes == MAP_FAILED) perror("mmap"), exit(1);
    return bytes;
}

int main(int count, char **words) {
    if (count < 3) return 2;
    if (!strcmp(words[1], "feed") && count == 8) return feed(words + 2), 0;
    if (!strcmp(words[1], "epoch") && count >= 6) return epoch(words + 2), 0;
    size_t size;
    const char *bytes = map(words[2], &size);
    uint64_t total = 0;
    double seconds = atof(words[count - 1]), start = now();
    if (!strcmp(words[1], "map")) {
        for (; now() - start < seconds; total += size) touch(bytes, size);
    } else {
        size_t slot = strtoull(words[3], NULL, 10), slots = strtoull(words[4], NULL, 10), at = 0, next = 0;
        char *targets = aligned_alloc(4096, slot * slots);
        memset(targets, 1, slot * slots);
        for (start = now(); now() - start < seconds; total += slot) {
            if (at + slot > size) at = 0;
            char *target = targets + next++ % slots * slot;
            memcpy(target, bytes + at, slot);
            sink += (unsigned char)target[slot - 1];
            at += slot;
        }
    }
    printf("{\"bytes\": %llu, \"seconds\": %.6f}\n", (unsigned long long)total, now() - start);
    return 0;
}
