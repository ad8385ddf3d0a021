#include "failure.h"

#include <stdarg.h>
#include <stdio.h>

static void put(char *to, size_t room, const char *text) { (void)snprintf(to, room, "%s", text != NULL ? text : ""); }

enum kaml_code failure(struct kaml_error *error, enum kaml_code code, enum failure_retry retry, const char *remedy,
                       const char *format, ...) {
    if (error != NULL) {
        va_list arguments;
        error->code = code;
        error->is_retryable = retry == FAILURE_RETRYABLE;
        error->position = UINT64_MAX;
        va_start(arguments, format);
        (void)vsnprintf(error->message, sizeof error->message, format, arguments);
        va_end(arguments);
        put(error->remedy, sizeof error->remedy, remedy);
    }
    return code;
}

static enum kaml_code code_told(Kaml__Feed__V1__Failure__Code code) {
    switch (code) {
    case KAML__FEED__V1__FAILURE__CODE__CODE_INVALID:
        return KAML_INVALID;
    case KAML__FEED__V1__FAILURE__CODE__CODE_NOT_FOUND:
        return KAML_NOT_FOUND;
    case KAML__FEED__V1__FAILURE__CODE__CODE_DENIED:
        return KAML_DENIED;
    case KAML__FEED__V1__FAILURE__CODE__CODE_EXHAUSTED:
        return KAML_EXHAUSTED;
    case KAML__FEED__V1__FAILURE__CODE__CODE_CORRUPT:
        return KAML_CORRUPT;
    case KAML__FEED__V1__FAILURE__CODE__CODE_UNSUPPORTED:
        return KAML_UNSUPPORTED;
    /* A code of a later agent, or none: all that is known is that it did not work. */
    case KAML__FEED__V1__FAILURE__CODE__CODE_UNAVAILABLE:
    case KAML__FEED__V1__FAILURE__CODE__CODE_UNSPECIFIED:
    case _KAML__FEED__V1__FAILURE__CODE_IS_INT_SIZE:
    default:
        return KAML_UNAVAILABLE;
    }
}

enum kaml_code failure_told(struct kaml_error *error, const Kaml__Feed__V1__Failure *told) {
    enum kaml_code code = code_told(told->code);
    if (error != NULL) {
        error->code = code;
        error->is_retryable = told->is_retryable;
        error->position = UINT64_MAX;
        put(error->message, sizeof error->message, told->message);
        put(error->remedy, sizeof error->remedy, told->remedy);
    }
    return code;
}

enum kaml_code failure_protocol(struct kaml_error *error, const char *format, ...) {
    char cause[KAML_MESSAGE_BYTES / 2];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(cause, sizeof cause, format, arguments);
    va_end(arguments);
    return failure(error, KAML_CORRUPT, FAILURE_FINAL,
                   "Check that agent and libkaml are of versions that go together; report it if they are.",
                   "the agent broke the feed's protocol: %s", cause);
}

enum kaml_code failure_memory(struct kaml_error *error) {
    return failure(error, KAML_NO_MEMORY, FAILURE_RETRYABLE, "Give the process more memory or take smaller batches.",
                   "out of memory");
}

enum kaml_code failure_forked(struct kaml_error *error) {
    return failure(error, KAML_FORKED, FAILURE_FINAL, "Open a client and streams of its own in the child process.",
                   "a client or stream of the parent process was used after fork");
}

enum kaml_code failure_copy(struct kaml_error *error, const struct kaml_error *from) {
    if (error != NULL)
        *error = *from;
    return from->code;
}

const char *kaml_version(void) { return KAML_LIBRARY_VERSION; }

const char *kaml_code_name(enum kaml_code code) {
    switch (code) {
    case KAML_OK:
        return "ok";
    case KAML_INVALID:
        return "invalid";
    case KAML_NOT_FOUND:
        return "not found";
    case KAML_DENIED:
        return "denied";
    case KAML_EXHAUSTED:
        return "exhausted";
    case KAML_CORRUPT:
        return "corrupt";
    case KAML_UNAVAILABLE:
        return "unavailable";
    case KAML_UNSUPPORTED:
        return "unsupported";
    case KAML_TIMED_OUT:
        return "timed out";
    case KAML_END:
        return "end";
    case KAML_CLOSED:
        return "closed";
    case KAML_FORKED:
        return "forked";
    case KAML_NO_MEMORY:
        return "no memory";
    default:
        return "unknown";
    }
}
