/* What of libkaml is pure: tokens, the window, segments, the order. Tests of the rest run against an agent, from Python
 * (Sources/Pod/python/tests). */
#define _GNU_SOURCE
#include <fcntl.h>
#include <inttypes.h>
#include <kaml_order.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "segments.h"
#include "window.h"

static int failures;

#define EXPECT(condition)                                                                                              \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            failures++;                                                                                                \
            fprintf(stderr, "%s:%d: %s\n", __func__, __LINE__, #condition);                                            \
        }                                                                                                              \
    } while (0)

/* ---- tokens ---- */

static struct kaml_cursor some_cursor(void) {
    struct kaml_cursor cursor = {
        .seed = UINT64_MAX, .epoch = 3, .ordinal = 1234567, .order_version = 1, .order = 2, .block = 64, .window = 9};
    memset(cursor.snapshot, 'a', KAML_SNAPSHOT_TEXT - 1);
    return cursor;
}

static void a_token_gives_back_its_cursor(void) {
    struct kaml_cursor cursor = some_cursor(), back;
    char text[KAML_TOKEN_TEXT];
    EXPECT(kaml_token_encode(&cursor, text, NULL) == KAML_OK);
    memset(&back, 0, sizeof back);
    EXPECT(kaml_token_decode(text, &back, NULL) == KAML_OK);
    EXPECT(memcmp(&cursor, &back, sizeof back) == 0);
    cursor.snapshot[0] = 0;
    EXPECT(kaml_token_encode(&cursor, text, NULL) == KAML_OK && kaml_token_decode(text, &back, NULL) == KAML_OK);
    EXPECT(back.snapshot[0] == 0);
}

static void every_damaged_byte_of_a_token_is_seen(void) {
    struct kaml_cursor cursor = some_cursor(), back;
    char text[KAML_TOKEN_TEXT];
    EXPECT(kaml_token_encode(&cursor, text, NULL) == KAML_OK);
    size_t length = strlen(text);
    for (size_t i = 0; i + 1 < length; i++) {
        char kept = text[i];
        text[i] = kept == 'A' ? 'B' : 'A';
        EXPECT(kaml_token_decode(text, &back, NULL) != KAML_OK);
        text[i] = kept;
    }
    for (size_t i = 0; i < length; i++) {
        char kept = text[i];
        text[i] = 0;
        EXPECT(kaml_token_decode(text, &back, NULL) == KAML_INVALID);
        text[i] = kept;
    }
    EXPECT(kaml_token_decode("not a token!", &back, NULL) == KAML_INVALID);
}

static void a_token_of_a_later_version_is_told_apart(void) {
    struct kaml_error error;
    struct kaml_cursor back;
    EXPECT(kaml_token_decode("CgAAAAAA", &back, &error) == KAML_UNSUPPORTED);
    EXPECT(strstr(error.message, "version 10") != NULL);
}

static void a_snapshot_that_is_no_hex_makes_no_token(void) {
    struct kaml_cursor cursor = some_cursor();
    char text[KAML_TOKEN_TEXT];
    cursor.snapshot[5] = 'g';
    EXPECT(kaml_token_encode(&cursor, text, NULL) == KAML_INVALID);
    cursor.snapshot[5] = 0;
    EXPECT(kaml_token_encode(&cursor, text, NULL) == KAML_INVALID);
}

/* ---- the window ---- */

static void put(struct window *window, uint64_t position) {
    struct published item = {.position = position};
    EXPECT(window_put(window, &item));
}

static void the_window_knows_what_comes_and_what_needs_a_seek(void) {
    struct window window = {0};
    const uint64_t next = 10, room = 4;
    put(&window, 8);
    EXPECT(window_judge(&window, 8, next, room) == WISH_READY);
    EXPECT(window_judge(&window, 9, next, room) == WISH_SEEK);
    EXPECT(window_judge(&window, 10, next, room) == WISH_COMING);
    EXPECT(window_judge(&window, 13, next, room) == WISH_COMING);
    EXPECT(window_judge(&window, 14, next, room) == WISH_SEEK);
    EXPECT(window_judge(&window, 10, next, 0) == WISH_SEEK);
    EXPECT(window_judge(&window, UINT64_MAX, next, room) == WISH_SEEK);
    window_destroy(&window);
}

static void the_window_gives_each_batch_once_and_the_lowest_first(void) {
    struct window window = {0};
    struct published item;
    for (uint64_t i = 0; i < 100; i++)
        put(&window, 99 - i);
    EXPECT(window_take(&window, 50, &item) && item.position == 50);
    EXPECT(!window_take(&window, 50, &item));
    EXPECT(window_take_lowest(&window, 100, &item) && item.position == 0);
    EXPECT(!window_take_lowest(&window, 1, &item));
    EXPECT(window_take_lowest(&window, 2, &item) && item.position == 1);
    EXPECT(window.count == 97);
    window_destroy(&window);
}

/* ---- segments ---- */

static int sealed_memory(size_t bytes, int seals) {
    int descriptor = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    EXPECT(descriptor >= 0 && ftruncate(descriptor, (off_t)bytes) == 0);
    EXPECT(fcntl(descriptor, F_ADD_SEALS, seals) == 0);
    return descriptor;
}

static void add(struct segments *segments, uint32_t id) {
    int descriptor = sealed_memory(8192, F_SEAL_SHRINK);
    EXPECT(segments_add(segments, id, 8192, false, descriptor, NULL) == KAML_OK);
    close(descriptor);
}

static struct segments begin(void) {
    struct segments segments;
    struct mappings *mappings = mappings_create();
    EXPECT(segments_init(&segments, mappings, NULL) == KAML_OK);
    mappings_release(mappings);
    return segments;
}

static void segments_are_checked_before_they_are_mapped(void) {
    struct segments segments = begin();
    int loose = sealed_memory(4096, F_SEAL_GROW), good = sealed_memory(4096, F_SEAL_SHRINK);
    EXPECT(segments_add(&segments, 1, 4096, false, loose, NULL) == KAML_CORRUPT);
    EXPECT(segments_add(&segments, 1, 4097, false, good, NULL) == KAML_CORRUPT);
    EXPECT(segments_add(&segments, 1, 0, false, good, NULL) == KAML_CORRUPT);
    EXPECT(segments_add(&segments, 1, 4096, false, good, NULL) == KAML_OK);
    EXPECT(segments_add(&segments, 1, 4096, false, good, NULL) == KAML_CORRUPT);
    close(loose);
    close(good);
    segments_destroy(&segments);
}

static void ranges_are_held_to_their_segment(void) {
    struct segments segments = begin();
    add(&segments, 7);
    struct segment *segment = segments_find(&segments, 7);
    EXPECT(segments_find(&segments, 8) == NULL);
    EXPECT(segment_at(segment, 0, 8192) == segment->base);
    EXPECT(segment_at(segment, 8192, 0) != NULL);
    EXPECT(segment_at(segment, 8192, 1) == NULL);
    EXPECT(segment_at(segment, 1, 8192) == NULL);
    EXPECT(segment_at(segment, UINT64_MAX, 2) == NULL);
    EXPECT(segment_at(segment, 8, UINT64_MAX) == NULL);
    segments_destroy(&segments);
}

static void a_segment_goes_with_the_last_batch_of_its_time(void) {
    struct segments segments = begin();
    add(&segments, 1);
    add(&segments, 2);
    struct era *first = segments_lend(&segments);
    EXPECT(segments_end(&segments, 1) && segments_close_era(&segments));
    EXPECT(!segments_end(&segments, 1));
    struct era *second = segments_lend(&segments);
    EXPECT(segments_end(&segments, 2) && segments_close_era(&segments));
    EXPECT(segments.count == 2);
    segments_return(&segments, second);
    EXPECT(segments.count == 2);
    segments_return(&segments, first);
    EXPECT(segments.count == 0);
    segments_destroy(&segments);
}

static void a_pinned_segment_stays_readable(void) {
    struct segments segments = begin();
    add(&segments, 1);
    add(&segments, 2);
    struct segment *list[] = {segments_find(&segments, 1)}, *other[] = {segments_find(&segments, 2)};
    const uint8_t *bytes = list[0]->base;
    struct era *era = segments_lend(&segments);
    EXPECT(segments_pin(&segments, list, 1, 0));
    EXPECT(segments_end(&segments, 1) && segments_close_era(&segments));
    EXPECT(!segments_pin(&segments, other, 1, 8191));
    EXPECT(segments_pin(&segments, other, 1, 8192));
    segments_return(&segments, era);
    segments_destroy(&segments);
    EXPECT(bytes[8191] == 0);
}

static void a_page_that_is_not_there_is_an_error(void) {
    struct segments segments = begin();
    int descriptor = memfd_create("test", MFD_CLOEXEC);
    EXPECT(ftruncate(descriptor, 8192) == 0);
    EXPECT(segments_add(&segments, 1, 8192, true, descriptor, NULL) == KAML_OK);
    struct segment *segment = segments_find(&segments, 1);
    EXPECT(segments_populate(&segments, segment, 4000, 4192) == 0);
    EXPECT(ftruncate(descriptor, 4096) == 0);
    EXPECT(segments_populate(&segments, segment, 0, 4096) == 0);
    EXPECT(segments_populate(&segments, segment, 4000, 4192) != 0);
    close(descriptor);
    segments_destroy(&segments);
}

static void large_ranges_are_populated_by_blocks(void) {
    const size_t bytes = 300000, kept = 200704;
    struct segments segments = begin();
    int descriptor = memfd_create("test", MFD_CLOEXEC);
    EXPECT(ftruncate(descriptor, (off_t)bytes) == 0);
    EXPECT(segments_add(&segments, 1, bytes, true, descriptor, NULL) == KAML_OK);
    struct segment *segment = segments_find(&segments, 1);
    EXPECT(segments_populate(&segments, segment, 1, 140000) == 0);
    EXPECT(segment->populated[0] != 0 && segment->populated[2] != 0 && segment->populated[3] == 0);
    EXPECT(ftruncate(descriptor, (off_t)kept) == 0);
    EXPECT(segments_populate(&segments, segment, 0, 190000) == 0);
    EXPECT(segments_populate(&segments, segment, 0, bytes) != 0);
    EXPECT(segment->populated[4] == 0);
    segment->populated[1] -= 100;
    EXPECT(segments_populate(&segments, segment, 65536, 65536) == 0);
    close(descriptor);
    segments_destroy(&segments);
}

static void a_pinned_file_is_mapped_once_for_all(void) {
    struct segments first, second;
    struct mappings *mappings = mappings_create();
    int descriptor = memfd_create("test", MFD_CLOEXEC), other = memfd_create("test", MFD_CLOEXEC);
    EXPECT(ftruncate(descriptor, 8192) == 0 && ftruncate(other, 8192) == 0);
    EXPECT(segments_init(&first, mappings, NULL) == KAML_OK && segments_init(&second, mappings, NULL) == KAML_OK);
    EXPECT(segments_add(&first, 1, 8192, true, descriptor, NULL) == KAML_OK);
    struct segment *list[] = {segments_find(&first, 1)};
    const uint8_t *bytes = list[0]->base;
    EXPECT(segments_pin(&first, list, 1, 0) && segments_pin(&first, list, 1, 0));
    EXPECT(segments_add(&second, 5, 8192, true, descriptor, NULL) == KAML_OK);
    EXPECT(segments_add(&second, 6, 8192, true, other, NULL) == KAML_OK);
    EXPECT(segments_find(&second, 5)->base == bytes && segments_find(&second, 6)->base != bytes);
    EXPECT(segments_end(&second, 5) && segments_close_era(&second) && second.pinned_ended_bytes == 0);
    segments_destroy(&first);
    EXPECT(segments_add(&second, 7, 4096, true, descriptor, NULL) == KAML_OK);
    EXPECT(segments_find(&second, 7)->base == bytes && segments_populate(&second, segments_find(&second, 7), 0, 1) == 0);
    segments_destroy(&second);
    mappings_release(mappings);
    EXPECT(bytes[8191] == 0);
    close(descriptor);
    close(other);
}

/* ---- the order, by the vectors that the agent's tests use ---- */

static const char *find_number(const char *text, const char *key, uint64_t *number) {
    char quoted[32];
    (void)snprintf(quoted, sizeof quoted, "\"%s\":", key);
    const char *place = text == NULL ? NULL : strstr(text, quoted);
    if (place == NULL)
        return NULL;
    *number = strtoull(place + strlen(quoted), NULL, 10);
    return place;
}

static char *contents(const char *path) {
    FILE *file = fopen(path, "rb");
    char *text = NULL;
    size_t size = 0;
    if (file == NULL || getdelim(&text, &size, 0, file) <= 0) {
        fprintf(stderr, "cannot read %s\n", path);
        failures++;
    }
    if (file != NULL)
        fclose(file);
    return text;
}

static uint32_t kind_at(const char *text) {
    const char *place = strstr(text, "\"kind\":");
    uint64_t number = 0;
    if (place == NULL)
        return 0;
    place += strlen("\"kind\":");
    while (*place == ' ')
        place++;
    if (*place != '"')
        number = strtoull(place, NULL, 10);
    else if (strncmp(place, "\"seq", 4) == 0)
        number = KAML_ORDER_SEQUENTIAL;
    else
        number = strncmp(place, "\"shuf", 5) == 0 ? KAML_ORDER_SHUFFLED : KAML_ORDER_BLOCKS;
    return (uint32_t)number;
}

/* Reads the two lists of an order side by side and compares. The count of places. */
static size_t check_order(const char *text, const struct kaml_order *order) {
    size_t count = 0;
    const char *ordinals = strstr(text, "\"ordinals\":"), *records = strstr(text, "\"order\":");
    if (ordinals == NULL || records == NULL)
        return 0;
    ordinals = strchr(ordinals, '[') + 1;
    records = strchr(records, '[') + 1;
    for (;;) {
        char *after_ordinal, *after_record;
        uint64_t ordinal = strtoull(ordinals, &after_ordinal, 10), record = strtoull(records, &after_record, 10);
        if (after_ordinal == ordinals || after_record == records)
            return count;
        EXPECT(kaml_order_record(order, ordinal) == record);
        EXPECT(kaml_order_ordinal(order, record) == ordinal);
        count++;
        ordinals = after_ordinal + strspn(after_ordinal, ", \n");
        records = after_record + strspn(after_record, ", \n");
        if (*ordinals == ']' || *records == ']')
            return count;
    }
}

static void the_order_is_that_of_the_vectors(const char *path) {
    char *text = contents(path);
    size_t places = 0;
    for (const char *at = text; at != NULL && (at = strstr(at, "\"kind\"")) != NULL; at++) {
        uint64_t records = 0, seed = 0, epoch = 0, block = 0, window = 0;
        const char *begin = at;
        while (begin > text && *begin != '{')
            begin--;
        if (find_number(begin, "records", &records) == NULL || find_number(begin, "seed", &seed) == NULL ||
            find_number(begin, "epoch", &epoch) == NULL)
            break;
        (void)find_number(begin, "block", &block);
        (void)find_number(begin, "window", &window);
        struct kaml_order order;
        EXPECT(kaml_order_init(&order, KAML_ORDER_VERSION, kind_at(begin), records, seed, epoch, block, window) == 0);
        places += check_order(begin, &order);
    }
    EXPECT(places > 100);
    free(text);
}

int main(int count, char **arguments) {
    a_token_gives_back_its_cursor();
    every_damaged_byte_of_a_token_is_seen();
    a_token_of_a_later_version_is_told_apart();
    a_snapshot_that_is_no_hex_makes_no_token();
    the_window_knows_what_comes_and_what_needs_a_seek();
    the_window_gives_each_batch_once_and_the_lowest_first();
    segments_are_checked_before_they_are_mapped();
    ranges_are_held_to_their_segment();
    a_segment_goes_with_the_last_batch_of_its_time();
    a_pinned_segment_stays_readable();
    a_page_that_is_not_there_is_an_error();
    large_ranges_are_populated_by_blocks();
    a_pinned_file_is_mapped_once_for_all();
    if (count > 1)
        the_order_is_that_of_the_vectors(arguments[1]);
    else
        failures++;
    fprintf(stderr, failures == 0 ? "unit: all is well\n" : "unit: %d failures\n", failures);
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
