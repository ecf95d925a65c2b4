// Serves a SavedModel without Python: loads the library of native ops, then the
// model.
//
//   serve NATIVE.so SAVED_MODEL INPUT OUTPUT UNITS
//
// Feeds one example of UNITS numbers, 0, 1/UNITS, 2/UNITS, ..., and prints the
// outputs. INPUT and OUTPUT are the operations that `saved_model_cli show
// --all` names under serving_default, without the ":0". For a model exported
// with portable=True, give "-" instead of the library. To compile, with
// TensorFlow's headers and libraries in $TF (those of its Python package will
// do, or libtensorflow's):
//
//   gcc serve.c -I$TF/include -L$TF -l:libtensorflow_cc.so.2
//       -l:libtensorflow_framework.so.2 -Wl,-rpath,$TF -o serve
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"

static void Check(TF_Status* status, const char* what) {
  if (TF_GetCode(status) == TF_OK) return;
  fprintf(stderr, "%s: %s\n", what, TF_Message(status));
  exit(1);
}

int main(int argc, char** argv) {
  if (argc != 6) {
    fprintf(stderr,
            "usage: serve NATIVE.so|- SAVED_MODEL INPUT OUTPUT UNITS\n");
    return 2;
  }
  const int64_t units = atoll(argv[5]);
  TF_Status* status = TF_NewStatus();
  if (strcmp(argv[1], "-") != 0) {
    TF_LoadLibrary(argv[1], status);
    Check(status, argv[1]);
  }

  TF_Graph* graph = TF_NewGraph();
  TF_SessionOptions* options = TF_NewSessionOptions();
  const char* tags[] = {"serve"};
  TF_Session* session = TF_LoadSessionFromSavedModel(
      options, NULL, argv[2], tags, 1, graph, NULL, status);
  Check(status, argv[2]);

  const TF_Output from = {TF_GraphOperationByName(graph, argv[3]), 0};
  const TF_Output to = {TF_GraphOperationByName(graph, argv[4]), 0};
  if (from.oper == NULL || to.oper == NULL) {
    fprintf(stderr, "%s: no operation %s or %s\n", argv[2], argv[3], argv[4]);
    return 1;
  }

  const int64_t shape[] = {1, units};
  TF_Tensor* example =
      TF_AllocateTensor(TF_FLOAT, shape, 2, units * sizeof(float));
  float* values = TF_TensorData(example);
  for (int64_t i = 0; i < units; ++i) values[i] = (float)i / (float)units;
  TF_Tensor* result = NULL;
  TF_SessionRun(session, NULL, &from, &example, 1, &to, &result, 1, NULL, 0,
                NULL, status);
  Check(status, "run");

  const float* outputs = TF_TensorData(result);
  for (int64_t i = 0; i < TF_TensorElementCount(result); ++i) {
    printf("%.9g\n", outputs[i]);
  }
  TF_DeleteTensor(result);
  TF_DeleteTensor(example);
  TF_CloseSession(session, status);
  TF_DeleteSession(session, status);
  TF_DeleteSessionOptions(options);
  TF_DeleteGraph(graph);
  TF_DeleteStatus(status);
  return 0;
}
