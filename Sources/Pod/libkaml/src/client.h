/* What a client knows: where the agent is, and sessions with it for files. */
#ifndef KAML_CLIENT_H
#define KAML_CLIENT_H

#include <pthread.h>
#include <sys/types.h>

#include "connection.h"
#include "mappings.h"

/* Sessions for files that threads may use at the same time. */
#define CLIENT_FILE_SESSIONS 8

/* Copied into each stream, so that a stream may outlive its client. */
struct reach {
    pid_t pid;
    /* Whoever has a copy has a reference. */
    struct mappings *mappings;
    uint64_t answer_timeout_ns;
    uint64_t reconnect_timeout_ns;
    char socket[108]; /* sun_path */
    char program[129];
};

struct file_session;

struct kaml_client {
    struct reach reach;
    pthread_mutex_t lock;
    pthread_cond_t freed;
    struct file_session *idle;
    size_t file_sessions;
};

bool reach_is_forked(const struct reach *reach);

/* Sessions for files (files.c). */
enum kaml_code file_session_open(const struct reach *reach, struct file_session **session, struct kaml_error *error);
void file_session_close(struct file_session *session);
void file_session_link(struct file_session *session, struct file_session *next);
struct file_session *file_session_next(const struct file_session *session);

#endif
