/* Prints what native/tf_api.h says of TensorFlow's C API, or with TENSORFLOW what TensorFlow's own headers say. */
#include <stddef.h>
#include <stdio.h>

#ifdef TENSORFLOW
#include <stdbool.h>
/* The header is meant for C++. */
#define constexpr static const
#include "tensorflow/c/experimental/filesystem/filesystem_interface.h"
#include "tensorflow/c/tf_datatype.h"
#include "tensorflow/c/tf_file_statistics.h"
#include "tensorflow/c/tf_status.h"
#include "tsl_ctstring.h"
#else
#include "tf_api.h"
#endif

#define NUMBER(what) printf("%s %ld\n", #what, (long)(what))
#define PLACE(type, field) printf("%s.%s %zu\n", #type, #field, offsetof(type, field))

int main(void) {
    NUMBER(TF_OK);
    NUMBER(TF_CANCELLED);
    NUMBER(TF_UNKNOWN);
    NUMBER(TF_INVALID_ARGUMENT);
    NUMBER(TF_DEADLINE_EXCEEDED);
    NUMBER(TF_NOT_FOUND);
    NUMBER(TF_PERMISSION_DENIED);
    NUMBER(TF_RESOURCE_EXHAUSTED);
    NUMBER(TF_FAILED_PRECONDITION);
    NUMBER(TF_OUT_OF_RANGE);
    NUMBER(TF_UNIMPLEMENTED);
    NUMBER(TF_UNAVAILABLE);
    NUMBER(TF_DATA_LOSS);
    NUMBER(TF_UINT8);
    NUMBER(TF_STRING);
    NUMBER(TF_INT64);
    NUMBER(sizeof(TF_TString));
    NUMBER(TF_TSTR_SMALL);
    NUMBER(TF_TSTR_LARGE);
    NUMBER(TF_TSTR_VIEW);
    PLACE(TF_TString, u.large.size);
    PLACE(TF_TString, u.large.ptr);
    PLACE(TF_TString, u.view.size);
    PLACE(TF_TString, u.view.ptr);
    NUMBER(sizeof(TF_FileStatistics));
    PLACE(TF_FileStatistics, length);
    PLACE(TF_FileStatistics, mtime_nsec);
    PLACE(TF_FileStatistics, is_directory);
    NUMBER(sizeof(TF_RandomAccessFileOps));
    PLACE(TF_RandomAccessFileOps, cleanup);
    PLACE(TF_RandomAccessFileOps, read);
    NUMBER(sizeof(TF_WritableFileOps));
    PLACE(TF_WritableFileOps, cleanup);
    NUMBER(sizeof(TF_FilesystemOps));
    PLACE(TF_FilesystemOps, init);
    PLACE(TF_FilesystemOps, cleanup);
    PLACE(TF_FilesystemOps, new_random_access_file);
    PLACE(TF_FilesystemOps, new_writable_file);
    PLACE(TF_FilesystemOps, new_appendable_file);
    PLACE(TF_FilesystemOps, create_dir);
    PLACE(TF_FilesystemOps, recursively_create_dir);
    PLACE(TF_FilesystemOps, delete_file);
    PLACE(TF_FilesystemOps, delete_dir);
    PLACE(TF_FilesystemOps, delete_recursively);
    PLACE(TF_FilesystemOps, rename_file);
    PLACE(TF_FilesystemOps, path_exists);
    PLACE(TF_FilesystemOps, stat);
    PLACE(TF_FilesystemOps, is_directory);
    PLACE(TF_FilesystemOps, get_file_size);
    PLACE(TF_FilesystemOps, translate_name);
    PLACE(TF_FilesystemOps, get_children);
    NUMBER(sizeof(TF_FilesystemPluginOps));
    PLACE(TF_FilesystemPluginOps, scheme);
    PLACE(TF_FilesystemPluginOps, filesystem_ops_size);
    PLACE(TF_FilesystemPluginOps, filesystem_ops);
    PLACE(TF_FilesystemPluginOps, random_access_file_ops);
    PLACE(TF_FilesystemPluginOps, writable_file_ops);
    NUMBER(sizeof(TF_FilesystemPluginInfo));
    PLACE(TF_FilesystemPluginInfo, num_schemes);
    PLACE(TF_FilesystemPluginInfo, ops);
    PLACE(TF_FilesystemPluginInfo, plugin_memory_allocate);
    PLACE(TF_FilesystemPluginInfo, plugin_memory_free);
    return 0;
}
