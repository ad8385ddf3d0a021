#define _GNU_SOURCE
#include "connection.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "clock.h"
#include "kaml_feed.h"

static const char *const start_agent =
    "Check that kamld runs on this node with its feed enabled and that the socket's directory is mounted into the pod; "
    "KAML_FEED_SOCKET names another socket.";

enum kaml_code connection_open(struct connection *connection, const char *path, struct kaml_error *error) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    *connection = CONNECTION_CLOSED;
    if (strlen(path) >= sizeof address.sun_path)
        return failure(error, KAML_INVALID, FAILURE_FINAL, "Give a shorter path.", "the socket's path is too long: %s",
                       path);
    memcpy(address.sun_path, path, strlen(path) + 1);
    connection->buffer = malloc(CONNECTION_MESSAGE_BYTES);
    if (connection->buffer == NULL)
        return failure_memory(error);
    connection->socket = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (connection->socket < 0 ||
        connect(connection->socket, (const struct sockaddr *)&address, sizeof address) != 0) {
        int cause = errno;
        connection_close(connection);
        if (cause == EACCES || cause == EPERM)
            return failure(error, KAML_DENIED, FAILURE_FINAL, "Let this user reach the agent's socket.",
                           "cannot reach the agent at %s: %s", path, strerror(cause));
        return failure(error, KAML_UNAVAILABLE, FAILURE_RETRYABLE, start_agent, "cannot reach the agent at %s: %s", path,
                       strerror(cause));
    }
    return KAML_OK;
}

void connection_close(struct connection *connection) {
    if (connection->socket >= 0)
        close(connection->socket);
    free(connection->buffer);
    *connection = CONNECTION_CLOSED;
}

/* Whether the socket was ready for `events` by `deadline`; looks at it at least once. */
static bool wait_ready(int socket, short events, uint64_t deadline) {
    struct pollfd wanted = {.fd = socket, .events = events};
    for (;;) {
        const int most = 1000;
        int ready = poll(&wanted, 1, clock_poll_timeout(clock_left(deadline), most));
        if (ready > 0)
            return true;
        if (ready < 0 && errno != EINTR)
            return true; /* The call that follows says what is wrong. */
        if (clock_left(deadline) == 0)
            return false;
    }
}

/* What the agent said before it closed the connection, which it does to those that it has no room for. */
static enum kaml_code last_words(struct connection *connection, int cause, struct kaml_error *error) {
    Kaml__Feed__V1__Reply *reply;
    struct descriptors descriptors;
    while (connection_receive(connection, 0, &reply, &descriptors, NULL) == ARRIVAL_MESSAGE) {
        bool is_failure = reply->result_case == KAML__FEED__V1__REPLY__RESULT_FAILURE;
        enum kaml_code code = is_failure ? failure_told(error, reply->failure) : KAML_OK;
        descriptors_close(&descriptors);
        kaml__feed__v1__reply__free_unpacked(reply, NULL);
        if (is_failure)
            return code;
    }
    return failure(error, KAML_UNAVAILABLE, FAILURE_RETRYABLE, start_agent, "the agent went away: %s", strerror(cause));
}

enum kaml_code connection_send(struct connection *connection, Kaml__Feed__V1__Request *request, uint64_t deadline,
                               struct kaml_error *error) {
    request->id = ++connection->last_id;
    size_t size = kaml__feed__v1__request__get_packed_size(request);
    if (size > CONNECTION_MESSAGE_BYTES)
        return failure(error, KAML_INVALID, FAILURE_FINAL, "Give shorter names, fewer paths or columns.",
                       "a request of %zu bytes is over the limit of %d", size, CONNECTION_MESSAGE_BYTES);
    kaml__feed__v1__request__pack(request, connection->buffer);
    for (;;) {
        if (send(connection->socket, connection->buffer, size, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
            return KAML_OK;
        if (errno == EINTR)
            continue;
        if ((errno == EAGAIN || errno == EWOULDBLOCK) && wait_ready(connection->socket, POLLOUT, deadline))
            continue;
        if (errno == EAGAIN || errno == EWOULDBLOCK)
            return failure(error, KAML_TIMED_OUT, FAILURE_RETRYABLE, "Look at the agent's load.",
                           "the agent does not take requests");
        return last_words(connection, errno, error);
    }
}

static void take_descriptors(struct msghdr *message, struct descriptors *descriptors) {
    descriptors->are_cut = (message->msg_flags & MSG_CTRUNC) != 0;
    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part != NULL; part = CMSG_NXTHDR(message, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count && descriptors->count < CONNECTION_MOST_DESCRIPTORS; i++)
            memcpy(&descriptors->values[descriptors->count++], CMSG_DATA(part) + i * sizeof(int), sizeof(int));
    }
}

enum arrival connection_receive(struct connection *connection, uint64_t deadline, Kaml__Feed__V1__Reply **reply,
                                struct descriptors *descriptors, struct kaml_error *error) {
    union {
        struct cmsghdr aligned;
        char bytes[CMSG_SPACE(sizeof(int) * CONNECTION_MOST_DESCRIPTORS)];
    } control;
    struct iovec piece = {.iov_base = connection->buffer, .iov_len = CONNECTION_MESSAGE_BYTES};
    descriptors->count = 0;
    descriptors->are_cut = false;
    for (;;) {
        struct msghdr message = {
            .msg_iov = &piece,
            .msg_iovlen = 1,
            .msg_control = control.bytes,
            .msg_controllen = sizeof control.bytes,
        };
        ssize_t size = recvmsg(connection->socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            if (deadline == 0 || !wait_ready(connection->socket, POLLIN, deadline))
                return ARRIVAL_NOTHING;
            continue;
        }
        if (size <= 0)
            return ARRIVAL_END;
        take_descriptors(&message, descriptors);
        if ((message.msg_flags & MSG_TRUNC) != 0) {
            descriptors_close(descriptors);
            (void)failure_protocol(error, "a message of more than %d bytes", CONNECTION_MESSAGE_BYTES);
            return ARRIVAL_FAULT;
        }
        *reply = kaml__feed__v1__reply__unpack(NULL, (size_t)size, connection->buffer);
        if (*reply == NULL) {
            descriptors_close(descriptors);
            (void)failure_protocol(error, "a datagram of %zd bytes that is no message", size);
            return ARRIVAL_FAULT;
        }
        return ARRIVAL_MESSAGE;
    }
}

void descriptors_close(struct descriptors *descriptors) {
    for (size_t i = 0; i < descriptors->count; i++)
        if (descriptors->values[i] >= 0)
            close(descriptors->values[i]);
    descriptors->count = 0;
}

enum kaml_code connection_greet(struct connection *connection, const char *program, uint64_t deadline,
                                struct kaml_error *error) {
    Kaml__Feed__V1__Hello hello = KAML__FEED__V1__HELLO__INIT;
    Kaml__Feed__V1__Request request = KAML__FEED__V1__REQUEST__INIT;
    hello.lowest_version = KAML_FEED_VERSION;
    hello.highest_version = KAML_FEED_VERSION;
    hello.client = (char *)(uintptr_t)program; /* protobuf-c knows no const; packing does not write. */
    request.operation_case = KAML__FEED__V1__REQUEST__OPERATION_HELLO;
    request.hello = &hello;
    return connection_send(connection, &request, deadline, error);
}

enum kaml_code connection_check_welcome(const Kaml__Feed__V1__Welcome *welcome, struct kaml_error *error) {
    if (welcome->version != KAML_FEED_VERSION)
        return failure(error, KAML_UNSUPPORTED, FAILURE_FINAL, "Bring agent and libkaml to versions that go together.",
                       "the agent (%s) speaks version %u of the feed's protocol, libkaml %d", welcome->agent,
                       welcome->version, KAML_FEED_VERSION);
    return KAML_OK;
}
