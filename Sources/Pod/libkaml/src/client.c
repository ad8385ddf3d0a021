#define _GNU_SOURCE
#include "client.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"

#define DEFAULT_SOCKET "/run/kaml/feed/feed.sock"
#define DEFAULT_ANSWER_TIMEOUT (60 * NANOSECONDS_IN_SECOND)
#define DEFAULT_RECONNECT_TIMEOUT (120 * NANOSECONDS_IN_SECOND)

bool reach_is_forked(const struct reach *reach) { return reach->pid != getpid(); }

static enum kaml_code put_string(char *to, size_t room, const char *what, const char *from, struct kaml_error *error) {
    size_t length = strlen(from);
    if (length >= room)
        return failure(error, KAML_INVALID, FAILURE_FINAL, "Give a shorter one.", "%s is longer than %zu bytes", what,
                       room - 1);
    memcpy(to, from, length + 1);
    return KAML_OK;
}

static enum kaml_code fill_in(struct reach *reach, const struct kaml_options *options, struct kaml_error *error) {
    const char *socket = options != NULL ? options->socket : NULL;
    const char *program = options != NULL && options->program != NULL ? options->program : "libkaml/" KAML_LIBRARY_VERSION;
    if (options != NULL && options->size != sizeof *options)
        return failure(error, KAML_INVALID, FAILURE_FINAL, "Set `size` to sizeof(struct kaml_options).",
                       "the options' size is %zu, not %zu", options->size, sizeof *options);
    if (socket == NULL)
        socket = secure_getenv("KAML_FEED_SOCKET");
    if (socket == NULL || socket[0] == 0)
        socket = DEFAULT_SOCKET;
    reach->pid = getpid();
    reach->answer_timeout_ns =
        options != NULL && options->answer_timeout_ns != 0 ? options->answer_timeout_ns : DEFAULT_ANSWER_TIMEOUT;
    reach->reconnect_timeout_ns =
        options != NULL && options->reconnect_timeout_ns != 0 ? options->reconnect_timeout_ns : DEFAULT_RECONNECT_TIMEOUT;
    enum kaml_code code = put_string(reach->socket, sizeof reach->socket, "the socket's path", socket, error);
    if (code != KAML_OK)
        return code;
    return put_string(reach->program, sizeof reach->program, "the program's name", program, error);
}

enum kaml_code kaml_connect(const struct kaml_options *options, struct kaml_client **client, struct kaml_error *error) {
    *client = NULL;
    struct kaml_client *made = calloc(1, sizeof *made);
    if (made == NULL)
        return failure_memory(error);
    enum kaml_code code = fill_in(&made->reach, options, error);
    made->reach.mappings = mappings_create();
    if (code == KAML_OK && made->reach.mappings == NULL)
        code = failure_memory(error);
    if (code == KAML_OK)
        code = file_session_open(&made->reach, &made->idle, error);
    if (code != KAML_OK) {
        mappings_release(made->reach.mappings);
        free(made);
        return code;
    }
    made->file_sessions = 1;
    pthread_mutex_init(&made->lock, NULL);
    pthread_cond_init(&made->freed, NULL);
    *client = made;
    return KAML_OK;
}

void kaml_close(struct kaml_client *client) {
    if (client == NULL)
        return;
    while (client->idle != NULL) {
        struct file_session *next = file_session_next(client->idle);
        file_session_close(client->idle);
        client->idle = next;
    }
    pthread_mutex_destroy(&client->lock);
    pthread_cond_destroy(&client->freed);
    mappings_release(client->reach.mappings);
    free(client);
}
