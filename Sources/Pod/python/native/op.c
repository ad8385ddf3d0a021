/* KamlNext: waits for the batch at a position and makes tensors of its columns. Synchronous: the C API's asynchronous
 * kernels crash when they are done late. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "registry.h"
#include "tf_api.h"

/* A tensor holds its whole batch; smaller columns are not worth that, and are copied. */
#define LEAST_ALIAS_BYTES 65536

struct kernel {
    struct definition *definition;
    pthread_mutex_t lock;
    struct use use;
};

/* What one call of the op works on. */
struct call {
    TF_OpKernelContext *context;
    TF_Status *status;
    struct definition *definition;
    struct kaml_batch *batch;
    bool has_views;
    bool is_ragged;
    int output;
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
    case KAML_UNAVAILABLE:
        return TF_UNAVAILABLE;
    case KAML_UNSUPPORTED:
        return TF_UNIMPLEMENTED;
    case KAML_TIMED_OUT:
        return TF_DEADLINE_EXCEEDED;
    case KAML_END:
        return TF_OUT_OF_RANGE;
    case KAML_CLOSED:
        return TF_CANCELLED;
    case KAML_FORKED:
        return TF_FAILED_PRECONDITION;
    default:
        return TF_UNKNOWN;
    }
}

static void set_error(TF_Status *status, const struct kaml_error *error) {
    char text[KAML_MESSAGE_BYTES + KAML_REMEDY_BYTES + 2];
    (void)snprintf(text, sizeof text, "%s %s", error->message, error->remedy);
    TF_SetStatus(status, tf_code(error->code), text);
}

static bool is_well(const struct call *call) { return TF_GetCode(call->status) == TF_OK; }

/* ---- tensors ---- */

struct alias {
    struct kaml_batch *batch;
    struct definition *definition;
};

static void drop_alias(void *data, size_t length, void *argument) {
    struct alias *alias = argument;
    (void)data;
    (void)length;
    kaml_batch_release(alias->batch);
    definition_unalias(alias->definition);
    free(alias);
}

static TF_Tensor *allocate(struct call *call, TF_DataType type, const int64_t *dims, int rank, size_t bytes) {
    TF_Tensor *tensor = TF_AllocateOutput(call->context, call->output, type, dims, rank, bytes, call->status);
    return is_well(call) ? tensor : NULL;
}

static void put_copy(struct call *call, TF_DataType type, const int64_t *dims, int rank, const void *data, size_t bytes) {
    TF_Tensor *tensor = allocate(call, type, dims, rank, bytes);
    if (tensor == NULL)
        return;
    if (bytes > 0)
        memcpy(TF_TensorData(tensor), data, bytes);
    TF_DeleteTensor(tensor);
    definition_count(call->definition, COUNT_COPIED, bytes);
}

/* The tensor is the batch's memory where that pays and nobody keeps too many. */
static void put_dense(struct call *call, TF_DataType type, const int64_t *dims, int rank, const void *data,
                      size_t bytes) {
    struct alias *alias = NULL;
    if (bytes >= LEAST_ALIAS_BYTES && definition_alias(call->definition)) {
        alias = malloc(sizeof *alias);
        if (alias == NULL)
            definition_unalias(call->definition);
    }
    if (alias == NULL) {
        put_copy(call, type, dims, rank, data, bytes);
        return;
    }
    *alias = (struct alias){.batch = kaml_batch_retain(call->batch), .definition = call->definition};
    /* TensorFlow never writes into memory that it does not own. */
    TF_Tensor *tensor = TF_NewTensor(type, dims, rank, (void *)(uintptr_t)data, bytes, drop_alias, alias);
    TF_SetOutput(call->context, call->output, tensor, call->status);
    TF_DeleteTensor(tensor);
    definition_count(call->definition, COUNT_ALIASED, bytes);
}

/* ---- strings ---- */

/* Into a string that TensorFlow has just made, so an empty one. False when there is no memory. */
static bool copy_string(TF_TString *string, const void *data, size_t length) {
    if (length <= TF_TSTRING_SMALL_CAPACITY) {
        string->u.small.size = (uint8_t)(length << 2 | TF_TSTR_SMALL);
        if (length > 0)
            memcpy(string->u.small.str, data, length);
        string->u.small.str[length] = 0;
        return true;
    }
    size_t capacity = ((length + 1 + 15) & ~(size_t)15) - 1;
    char *copy = malloc(capacity + 1);
    if (copy == NULL)
        return false;
    memcpy(copy, data, length);
    copy[length] = 0;
    string->u.large.size = length << 2 | TF_TSTR_LARGE;
    string->u.large.capacity = capacity;
    string->u.large.ptr = copy;
    return true;
}

static void put_strings(struct call *call, const struct kaml_column_data *column, uint32_t records) {
    const int64_t dims[] = {records};
    TF_Tensor *tensor = allocate(call, TF_STRING, dims, 1, (size_t)records * sizeof(TF_TString));
    if (tensor == NULL)
        return;
    TF_TString *strings = TF_TensorData(tensor);
    bool are_views = call->has_views && column->is_mapped &&
                     kaml_batch_pin(call->batch, definition_options(call->definition)->view_limit_bytes);
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < records; i++) {
        const struct kaml_value *value = &column->values[i];
        bytes += value->length;
        if (are_views && value->length > TF_TSTRING_SMALL_CAPACITY) {
            strings[i].u.view.size = value->length << 2 | TF_TSTR_VIEW;
            strings[i].u.view.ptr = value->data;
        } else if (!copy_string(&strings[i], value->data, value->length)) {
            TF_SetStatus(call->status, TF_RESOURCE_EXHAUSTED, "out of memory for a batch's strings");
            break;
        }
    }
    TF_DeleteTensor(tensor);
    definition_count(call->definition, are_views ? COUNT_VIEWED : COUNT_COPIED, bytes);
}

/* ---- values and row splits ---- */

static void gather(struct call *call, const struct kaml_column_data *column, uint32_t records) {
    int64_t total = 0;
    for (uint32_t i = 0; i < records; i++)
        total += (int64_t)column->values[i].length;
    TF_Tensor *values = allocate(call, TF_UINT8, &total, 1, (size_t)total);
    if (values == NULL)
        return;
    char *at = TF_TensorData(values);
    for (uint32_t i = 0; i < records; i++) {
        if (column->values[i].length > 0)
            memcpy(at, column->values[i].data, column->values[i].length);
        at += column->values[i].length;
    }
    TF_DeleteTensor(values);
    definition_count(call->definition, COUNT_COPIED, (uint64_t)total);
    call->output++;
    const int64_t splits_dims[] = {(int64_t)records + 1};
    TF_Tensor *splits = allocate(call, TF_INT64, splits_dims, 1, ((size_t)records + 1) * sizeof(int64_t));
    if (splits == NULL)
        return;
    int64_t *split = TF_TensorData(splits);
    split[0] = 0;
    for (uint32_t i = 0; i < records; i++)
        split[i + 1] = split[i] + (int64_t)column->values[i].length;
    TF_DeleteTensor(splits);
}

static void put_ragged(struct call *call, const struct kaml_column_data *column, uint32_t records) {
    if (column->packed == NULL) {
        gather(call, column, records);
        return;
    }
    const int64_t values_dims[] = {column->offsets[records]}, splits_dims[] = {(int64_t)records + 1};
    put_dense(call, TF_UINT8, values_dims, 1, column->packed, (size_t)values_dims[0]);
    call->output++;
    if (is_well(call))
        put_dense(call, TF_INT64, splits_dims, 1, column->offsets, ((size_t)records + 1) * sizeof(int64_t));
}

/* ---- the op ---- */

static void put_column(struct call *call, const struct kaml_column_data *column, uint32_t records) {
    const int64_t dims[] = {records, column->width};
    switch (column->kind) {
    case KAML_KIND_BYTES:
        if (call->is_ragged)
            put_ragged(call, column, records);
        else
            put_strings(call, column, records);
        break;
    case KAML_KIND_INT64:
        put_dense(call, TF_INT64, dims, 1, column->dense, (size_t)records * sizeof(int64_t));
        break;
    case KAML_KIND_UINT8:
        put_dense(call, TF_UINT8, dims, 2, column->dense, (size_t)records * column->width);
        break;
    }
    call->output++;
}

static void put_columns(struct call *call) {
    struct kaml_column_data column;
    int outputs = TF_NumOutputs(call->context);
    for (size_t i = 0; is_well(call) && kaml_batch_column(call->batch, i, &column); i++) {
        int needed = column.kind == KAML_KIND_BYTES && call->is_ragged ? 2 : 1;
        if (call->output + needed > outputs) {
            TF_SetStatus(call->status, TF_INVALID_ARGUMENT, "the op has fewer outputs than the stream has columns");
            return;
        }
        put_column(call, &column, kaml_batch_records(call->batch));
    }
}

static bool get_position(struct call *call, uint64_t *position) {
    TF_Tensor *tensor = NULL;
    int64_t given = -1;
    TF_GetInput(call->context, 0, &tensor, call->status);
    if (!is_well(call))
        return false;
    if (TF_TensorByteSize(tensor) == sizeof given)
        memcpy(&given, TF_TensorData(tensor), sizeof given);
    TF_DeleteTensor(tensor);
    if (given < 0) {
        TF_SetStatus(call->status, TF_INVALID_ARGUMENT, "a batch's position is a scalar that is not below 0");
        return false;
    }
    *position = (uint64_t)given;
    return true;
}

/* The kernel's stream, opened when the first batch is asked for. */
static struct kaml_stream *stream_of(struct kernel *kernel, TF_Status *status) {
    struct kaml_error error;
    pthread_mutex_lock(&kernel->lock);
    if (kernel->use.stream == NULL && use_begin(&kernel->use, kernel->definition, &error) != KAML_OK)
        set_error(status, &error);
    struct kaml_stream *stream = kernel->use.stream;
    pthread_mutex_unlock(&kernel->lock);
    return stream;
}

static void compute(void *state, TF_OpKernelContext *context) {
    struct kernel *kernel = state;
    const struct kaml_tf_options *options = definition_options(kernel->definition);
    struct call call = {
        .context = context,
        .status = TF_NewStatus(),
        .definition = kernel->definition,
        .has_views = options->has_views,
        .is_ragged = options->is_ragged,
    };
    struct kaml_error error;
    uint64_t position = 0;
    struct kaml_stream *stream = get_position(&call, &position) ? stream_of(kernel, call.status) : NULL;
    if (stream != NULL) {
        if (kaml_stream_take(stream, position, options->timeout_ns, &call.batch, &error) == KAML_OK) {
            put_columns(&call);
            kaml_batch_release(call.batch);
            definition_count(kernel->definition, COUNT_BATCHES, 1);
        } else {
            set_error(call.status, &error);
        }
    }
    if (!is_well(&call))
        TF_OpKernelContext_Failure(context, call.status);
    TF_DeleteStatus(call.status);
}

static void *create(TF_OpKernelConstruction *context) {
    TF_Status *status = TF_NewStatus();
    struct kernel *kernel = calloc(1, sizeof *kernel);
    int64_t number = -1;
    TF_OpKernelConstruction_GetAttrInt64(context, "definition", &number, status);
    if (kernel != NULL) {
        pthread_mutex_init(&kernel->lock, NULL);
        kernel->definition = registry_find(number);
    }
    if (TF_GetCode(status) == TF_OK && (kernel == NULL || kernel->definition == NULL))
        TF_SetStatus(status, TF_FAILED_PRECONDITION,
                     "no such stream in this process: a graph with kaml.tf.dataset runs where it was made");
    if (TF_GetCode(status) != TF_OK) {
        TF_OpKernelConstruction_Failure(context, status);
        free(kernel);
        kernel = NULL;
    }
    TF_DeleteStatus(status);
    return kernel;
}

static void destroy(void *state) {
    struct kernel *kernel = state;
    if (kernel == NULL)
        return;
    use_end(&kernel->use);
    pthread_mutex_destroy(&kernel->lock);
    free(kernel);
}

/* The shapes are set in Python, which knows the columns. */
static void infer_nothing(TF_ShapeInferenceContext *context, TF_Status *status) {
    (void)context;
    TF_SetStatus(status, TF_OK, "");
}

__attribute__((constructor)) static void register_op(void) {
    TF_Status *status = TF_NewStatus();
    TF_OpDefinitionBuilder *op = TF_NewOpDefinitionBuilder("KamlNext");
    TF_OpDefinitionBuilderAddAttr(op, "definition: int");
    TF_OpDefinitionBuilderAddAttr(op, "output_types: list(type) >= 1");
    TF_OpDefinitionBuilderAddInput(op, "position: int64");
    TF_OpDefinitionBuilderAddOutput(op, "columns: output_types");
    /* Else it could be folded into a constant, or run once for two. */
    TF_OpDefinitionBuilderSetIsStateful(op, true);
    TF_OpDefinitionBuilderSetShapeInferenceFunction(op, infer_nothing);
    TF_RegisterOpDefinition(op, status);
    if (TF_GetCode(status) == TF_OK)
        TF_RegisterKernelBuilder("KamlNext", TF_NewKernelBuilder("KamlNext", "CPU", create, compute, destroy), status);
    if (TF_GetCode(status) != TF_OK)
        fprintf(stderr, "kaml: TensorFlow does not take the op KamlNext\n");
    TF_DeleteStatus(status);
}
