/* Stands for libtensorflow_framework.so.2 when the plugins are linked, so that a build needs no TensorFlow: what matters is
 * its name, which TensorFlow 2.15 wants to find in a plugin, and its symbols. Never shipped, never loaded. */
#define STUB(name) \
    void name(void);                                                                                                   \
    void name(void) {}

STUB(TF_NewStatus)
STUB(TF_DeleteStatus)
STUB(TF_SetStatus)
STUB(TF_GetCode)
STUB(TF_NewTensor)
STUB(TF_DeleteTensor)
STUB(TF_TensorData)
STUB(TF_TensorByteSize)
STUB(TF_NewOpDefinitionBuilder)
STUB(TF_RegisterOpDefinition)
STUB(TF_OpDefinitionBuilderAddAttr)
STUB(TF_OpDefinitionBuilderAddInput)
STUB(TF_OpDefinitionBuilderAddOutput)
STUB(TF_OpDefinitionBuilderSetIsStateful)
STUB(TF_OpDefinitionBuilderSetShapeInferenceFunction)
STUB(TF_NewKernelBuilder)
STUB(TF_RegisterKernelBuilder)
STUB(TF_OpKernelConstruction_Failure)
STUB(TF_OpKernelConstruction_GetAttrInt64)
STUB(TF_NumOutputs)
STUB(TF_GetInput)
STUB(TF_SetOutput)
STUB(TF_AllocateOutput)
STUB(TF_OpKernelContext_Failure)
