// Networks of packed signs as ops get them: a program of numbers, and arrays.
#ifndef KERAS_COMPRESS_CSRC_TF_XNOR_STAGES_H_
#define KERAS_COMPRESS_CSRC_TF_XNOR_STAGES_H_

#include <string>
#include <vector>

#include "../kernels/xnor_network.h"
#include "op_context.h"

namespace keras_compress {

// The numbers of a stage in a program: its kind (KcXnorStageKind); the inputs
// of a product, the channels of a convolution or the words of a pooling; units;
// which arrays there are; height and width of the window, of strides and of
// dilations, or top, bottom, left and right of a border; whether the window
// goes over the edges, and whether there are zeros.
constexpr int64_t kStageNumbers = 12;

// The arrays of a stage, in this order: signs, masks, kept, thresholds, flips,
// scale, bias; of a pooling, flips. Signs and kept are always there, the others
// as a flag says, thresholds and flips together.
enum XnorFlag : int64_t { kMasks = 1, kLimits = 2, kScale = 4, kBias = 8 };

// Where arrays come from, one after another.
class XnorArrays {
 public:
  virtual ~XnorArrays() = default;
  // The next, of `count` numbers of 32 bits; null where it is not so, which
  // `status` says.
  virtual const void* Take(const char* name, TF_DataType type, int64_t count,
                           Status* status) = 0;
};

// The stages of a program; `output` is what the last gives (XnorOutputKind),
// unless it moves bits. False where numbers or arrays are wrong.
bool ReadStages(const std::vector<int64_t>& program, int64_t output,
                XnorArrays* arrays, std::vector<KcXnorStage>* stages,
                Status* status);

// Runs a network on the first input of an op, rows or images, and gives the
// output.
void RunNetwork(TF_OpKernelContext* context,
                const std::vector<KcXnorStage>& stages, Status* status);

}  // namespace keras_compress

#endif  // KERAS_COMPRESS_CSRC_TF_XNOR_STAGES_H_
