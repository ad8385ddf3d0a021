/* What of TensorFlow's C API the plugins use, as its headers have had it from 2.15 to 2.21 (tensorflow/c/kernels.h, ops.h,
 * tf_tensor.h, tf_status.h, tf_file_statistics.h, tsl/platform/ctstring_internal.h,
 * experimental/filesystem/filesystem_interface.h; Apache License 2.0). Declared here, since those headers are no C, and so
 * that a build needs no TensorFlow. tests/test_abi.py compares this file with the headers of the TensorFlow at hand. */
#ifndef KAML_TF_API_H
#define KAML_TF_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct TF_Status TF_Status;
typedef struct TF_Tensor TF_Tensor;
typedef struct TF_KernelBuilder TF_KernelBuilder;
typedef struct TF_OpKernelConstruction TF_OpKernelConstruction;
typedef struct TF_OpKernelContext TF_OpKernelContext;
typedef struct TF_OpDefinitionBuilder TF_OpDefinitionBuilder;
typedef struct TF_ShapeInferenceContext TF_ShapeInferenceContext;

typedef enum TF_Code {
    TF_OK = 0,
    TF_CANCELLED = 1,
    TF_UNKNOWN = 2,
    TF_INVALID_ARGUMENT = 3,
    TF_DEADLINE_EXCEEDED = 4,
    TF_NOT_FOUND = 5,
    TF_PERMISSION_DENIED = 7,
    TF_RESOURCE_EXHAUSTED = 8,
    TF_FAILED_PRECONDITION = 9,
    TF_OUT_OF_RANGE = 11,
    TF_UNIMPLEMENTED = 12,
    TF_UNAVAILABLE = 14,
    TF_DATA_LOSS = 15,
} TF_Code;

typedef enum TF_DataType {
    TF_UINT8 = 4,
    TF_STRING = 7,
    TF_INT64 = 9,
} TF_DataType;

extern TF_Status *TF_NewStatus(void);
extern void TF_DeleteStatus(TF_Status *);
extern void TF_SetStatus(TF_Status *status, TF_Code code, const char *message);
extern TF_Code TF_GetCode(const TF_Status *status);

extern TF_Tensor *TF_NewTensor(TF_DataType type, const int64_t *dims, int num_dims, void *data, size_t len,
                               void (*deallocator)(void *data, size_t len, void *arg), void *deallocator_arg);
extern void TF_DeleteTensor(TF_Tensor *);
extern void *TF_TensorData(const TF_Tensor *);
extern size_t TF_TensorByteSize(const TF_Tensor *);

extern TF_OpDefinitionBuilder *TF_NewOpDefinitionBuilder(const char *op_name);
extern void TF_RegisterOpDefinition(TF_OpDefinitionBuilder *builder, TF_Status *status);
extern void TF_OpDefinitionBuilderAddAttr(TF_OpDefinitionBuilder *builder, const char *attr_spec);
extern void TF_OpDefinitionBuilderAddInput(TF_OpDefinitionBuilder *builder, const char *input_spec);
extern void TF_OpDefinitionBuilderAddOutput(TF_OpDefinitionBuilder *builder, const char *output_spec);
extern void TF_OpDefinitionBuilderSetIsStateful(TF_OpDefinitionBuilder *builder, bool is_stateful);
extern void TF_OpDefinitionBuilderSetShapeInferenceFunction(
    TF_OpDefinitionBuilder *builder, void (*shape_inference_func)(TF_ShapeInferenceContext *ctx, TF_Status *status));

extern TF_KernelBuilder *TF_NewKernelBuilder(const char *op_name, const char *device_name,
                                             void *(*create_func)(TF_OpKernelConstruction *),
                                             void (*compute_func)(void *, TF_OpKernelContext *),
                                             void (*delete_func)(void *));
extern void TF_RegisterKernelBuilder(const char *kernel_name, TF_KernelBuilder *builder, TF_Status *status);
extern void TF_OpKernelConstruction_Failure(TF_OpKernelConstruction *ctx, TF_Status *status);
extern void TF_OpKernelConstruction_GetAttrInt64(TF_OpKernelConstruction *ctx, const char *attr_name, int64_t *val,
                                                 TF_Status *status);
extern int TF_NumOutputs(TF_OpKernelContext *ctx);
extern void TF_GetInput(TF_OpKernelContext *ctx, int i, TF_Tensor **tensor, TF_Status *status);
extern void TF_SetOutput(TF_OpKernelContext *ctx, int i, const TF_Tensor *tensor, TF_Status *status);
extern TF_Tensor *TF_AllocateOutput(TF_OpKernelContext *context, int index, TF_DataType dtype, const int64_t *dims,
                                    int num_dims, size_t len, TF_Status *status);
extern void TF_OpKernelContext_Failure(TF_OpKernelContext *ctx, TF_Status *status);

/* ---- strings: 24 bytes, the kind in the lowest two bits (little-endian machines) ---- */

enum { TF_TSTRING_BYTES = 24, TF_TSTRING_SMALL_CAPACITY = 22 };
enum TF_TString_Type { TF_TSTR_SMALL = 0, TF_TSTR_LARGE = 1, TF_TSTR_OFFSET = 2, TF_TSTR_VIEW = 3 };

typedef struct TF_TString {
    union {
        struct {
            uint8_t size;
            char str[TF_TSTRING_SMALL_CAPACITY + 1];
        } small;
        struct {
            size_t size;
            size_t capacity;
            char *ptr;
        } large;
        struct {
            size_t size;
            const char *ptr;
        } view;
    } u;
} TF_TString;

_Static_assert(sizeof(TF_TString) == TF_TSTRING_BYTES, "a string's layout");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "a string's layout on this machine");

/* ---- file systems ---- */

typedef struct TF_FileStatistics {
    int64_t length;
    int64_t mtime_nsec;
    bool is_directory;
} TF_FileStatistics;

typedef struct TF_RandomAccessFile {
    void *plugin_file;
} TF_RandomAccessFile;
typedef struct TF_WritableFile {
    void *plugin_file;
} TF_WritableFile;
typedef struct TF_Filesystem {
    void *plugin_filesystem;
} TF_Filesystem;

typedef struct TF_RandomAccessFileOps {
    void (*cleanup)(TF_RandomAccessFile *file);
    int64_t (*read)(const TF_RandomAccessFile *file, uint64_t offset, size_t n, char *buffer, TF_Status *status);
} TF_RandomAccessFileOps;

typedef struct TF_WritableFileOps {
    void (*cleanup)(TF_WritableFile *file);
    void (*append)(const TF_WritableFile *file, const char *buffer, size_t n, TF_Status *status);
    int64_t (*tell)(const TF_WritableFile *file, TF_Status *status);
    void (*flush)(const TF_WritableFile *file, TF_Status *status);
    void (*sync)(const TF_WritableFile *file, TF_Status *status);
    void (*close)(const TF_WritableFile *file, TF_Status *status);
} TF_WritableFileOps;

/* Those that a plugin may leave out are named as such and have no types here. */
typedef void (*TF_OmittedOp)(void);

typedef struct TF_FilesystemOps {
    void (*init)(TF_Filesystem *filesystem, TF_Status *status);
    void (*cleanup)(TF_Filesystem *filesystem);
    void (*new_random_access_file)(const TF_Filesystem *filesystem, const char *path, TF_RandomAccessFile *file,
                                   TF_Status *status);
    void (*new_writable_file)(const TF_Filesystem *filesystem, const char *path, TF_WritableFile *file,
                              TF_Status *status);
    void (*new_appendable_file)(const TF_Filesystem *filesystem, const char *path, TF_WritableFile *file,
                                TF_Status *status);
    TF_OmittedOp new_read_only_memory_region_from_file;
    void (*create_dir)(const TF_Filesystem *filesystem, const char *path, TF_Status *status);
    void (*recursively_create_dir)(const TF_Filesystem *filesystem, const char *path, TF_Status *status);
    void (*delete_file)(const TF_Filesystem *filesystem, const char *path, TF_Status *status);
    void (*delete_dir)(const TF_Filesystem *filesystem, const char *path, TF_Status *status);
    void (*delete_recursively)(const TF_Filesystem *filesystem, const char *path, uint64_t *undeleted_files,
                               uint64_t *undeleted_dirs, TF_Status *status);
    void (*rename_file)(const TF_Filesystem *filesystem, const char *src, const char *dst, TF_Status *status);
    TF_OmittedOp copy_file;
    void (*path_exists)(const TF_Filesystem *filesystem, const char *path, TF_Status *status);
    TF_OmittedOp paths_exist;
    void (*stat)(const TF_Filesystem *filesystem, const char *path, TF_FileStatistics *stats, TF_Status *status);
    bool (*is_directory)(const TF_Filesystem *filesystem, const char *path, TF_Status *status);
    int64_t (*get_file_size)(const TF_Filesystem *filesystem, const char *path, TF_Status *status);
    char *(*translate_name)(const TF_Filesystem *filesystem, const char *uri);
    int (*get_children)(const TF_Filesystem *filesystem, const char *path, char ***entries, TF_Status *status);
    TF_OmittedOp get_matching_paths;
    TF_OmittedOp flush_caches;
    TF_OmittedOp start_transaction;
    TF_OmittedOp end_transaction;
    TF_OmittedOp add_to_transaction;
    TF_OmittedOp get_transaction_for_path;
    TF_OmittedOp get_or_start_transaction_for_path;
    TF_OmittedOp decode_transaction_token;
    TF_OmittedOp get_filesystem_configuration;
    TF_OmittedOp set_filesystem_configuration;
    TF_OmittedOp get_filesystem_configuration_option;
    TF_OmittedOp set_filesystem_configuration_option;
    TF_OmittedOp get_filesystem_configuration_keys;
} TF_FilesystemOps;

typedef struct TF_FilesystemPluginOps {
    char *scheme;
    int filesystem_ops_abi;
    int filesystem_ops_api;
    size_t filesystem_ops_size;
    TF_FilesystemOps *filesystem_ops;
    int random_access_file_ops_abi;
    int random_access_file_ops_api;
    size_t random_access_file_ops_size;
    TF_RandomAccessFileOps *random_access_file_ops;
    int writable_file_ops_abi;
    int writable_file_ops_api;
    size_t writable_file_ops_size;
    TF_WritableFileOps *writable_file_ops;
    int read_only_memory_region_ops_abi;
    int read_only_memory_region_ops_api;
    size_t read_only_memory_region_ops_size;
    void *read_only_memory_region_ops;
} TF_FilesystemPluginOps;

typedef struct TF_FilesystemPluginInfo {
    size_t num_schemes;
    TF_FilesystemPluginOps *ops;
    void *(*plugin_memory_allocate)(size_t size);
    void (*plugin_memory_free)(void *ptr);
} TF_FilesystemPluginInfo;

__attribute__((visibility("default"))) void TF_InitPlugin(TF_FilesystemPluginInfo *plugin_info);

#endif
