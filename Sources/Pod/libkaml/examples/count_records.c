/* Counts the records and bytes of a dataset's first epoch:  count_records imagenet@v2 [BATCH_SIZE] */
#include <inttypes.h>
#include <kaml.h>
#include <stdio.h>
#include <stdlib.h>

static int complain(const struct kaml_error *error) {
    fprintf(stderr, "%s\n%s\n", error->message, error->remedy);
    return EXIT_FAILURE;
}

int main(int count, char **arguments) {
    const uint64_t a_minute = UINT64_C(60000000000);
    struct kaml_client *client;
    struct kaml_stream *stream;
    struct kaml_batch *batch;
    struct kaml_error error;
    uint64_t records = 0, bytes = 0;
    enum kaml_code code;
    if (count < 2) {
        fprintf(stderr, "usage: count_records DATASET@REF [BATCH_SIZE]\n");
        return EXIT_FAILURE;
    }
    struct kaml_stream_options options = {
        .size = sizeof options,
        .dataset = arguments[1],
        .batch_size = count > 2 ? (uint32_t)strtoul(arguments[2], NULL, 10) : 256,
        .epochs = 1,
    };
    if (kaml_connect(NULL, &client, &error) != KAML_OK)
        return complain(&error);
    if (kaml_stream_open(client, &options, &stream, &error) != KAML_OK) {
        kaml_close(client);
        return complain(&error);
    }
    while ((code = kaml_stream_next(stream, a_minute, &batch, &error)) == KAML_OK) {
        struct kaml_column_data column;
        if (kaml_batch_column(batch, 0, &column) && column.kind == KAML_KIND_BYTES)
            for (uint32_t i = 0; i < kaml_batch_records(batch); i++)
                bytes += column.values[i].length;
        records += kaml_batch_records(batch);
        kaml_batch_release(batch);
    }
    printf("%" PRIu64 " records, %" PRIu64 " bytes\n", records, bytes);
    kaml_stream_close(stream);
    kaml_close(client);
    return code == KAML_END ? EXIT_SUCCESS : complain(&error);
}
