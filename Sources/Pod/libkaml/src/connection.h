/* A connection to the agent: one datagram is one message, descriptors come beside it. Not thread-safe. */
#ifndef KAML_CONNECTION_H
#define KAML_CONNECTION_H

#include "failure.h"

/* Most bytes of a message, and most descriptors beside one (the kernel's SCM_MAX_FD). */
#define CONNECTION_MESSAGE_BYTES 65536
#define CONNECTION_MOST_DESCRIPTORS 253

struct connection {
    int socket;
    uint64_t last_id;
    uint8_t *buffer;
};

struct descriptors {
    size_t count;
    /* Some got lost on their way: this process has no room for them. */
    bool are_cut;
    int values[CONNECTION_MOST_DESCRIPTORS];
};

enum arrival {
    ARRIVAL_MESSAGE,
    ARRIVAL_NOTHING,
    /* The agent is gone. */
    ARRIVAL_END,
    /* What came is no message: `error` says it. */
    ARRIVAL_FAULT,
};

/* Before connection_open, and after connection_close. */
#define CONNECTION_CLOSED ((struct connection){.socket = -1})

enum kaml_code connection_open(struct connection *connection, const char *path, struct kaml_error *error);
void connection_close(struct connection *connection);

/* Gives the request an id and sends it by `deadline`. */
enum kaml_code connection_send(struct connection *connection, Kaml__Feed__V1__Request *request, uint64_t deadline,
                               struct kaml_error *error);
/* What has come by `deadline` (0: now). The reply is freed with kaml__feed__v1__reply__free_unpacked, descriptors that are
 * still wanted are taken out by setting them to -1; the rest: descriptors_close. */
enum arrival connection_receive(struct connection *connection, uint64_t deadline, Kaml__Feed__V1__Reply **reply,
                                struct descriptors *descriptors, struct kaml_error *error);
void descriptors_close(struct descriptors *descriptors);

/* Sends Hello without waiting for its answer. */
enum kaml_code connection_greet(struct connection *connection, const char *program, uint64_t deadline,
                                struct kaml_error *error);
enum kaml_code connection_check_welcome(const Kaml__Feed__V1__Welcome *welcome, struct kaml_error *error);

#endif
