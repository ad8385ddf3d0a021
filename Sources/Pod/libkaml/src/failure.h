/* Filling in struct kaml_error. */
#ifndef KAML_FAILURE_H
#define KAML_FAILURE_H

#include "feed.pb-c.h"
#include "kaml.h"

enum failure_retry { FAILURE_FINAL = 0, FAILURE_RETRYABLE = 1 };

/* Fills `error` unless it is NULL, and returns `code`. */
enum kaml_code failure(struct kaml_error *error, enum kaml_code code, enum failure_retry retry, const char *remedy,
                       const char *format, ...) __attribute__((format(printf, 5, 6)));
/* What the agent said. */
enum kaml_code failure_told(struct kaml_error *error, const Kaml__Feed__V1__Failure *told);
/* The agent broke the protocol. */
enum kaml_code failure_protocol(struct kaml_error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
enum kaml_code failure_memory(struct kaml_error *error);
enum kaml_code failure_forked(struct kaml_error *error);
enum kaml_code failure_copy(struct kaml_error *error, const struct kaml_error *from);

#endif
