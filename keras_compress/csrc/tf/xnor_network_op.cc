// The ops KcXnorNetwork and KcXnorStages: stages of packed signs one after
// another. They differ in how they get them: KcXnorStages has its program as an
// attribute and the arrays as inputs, which can be variables; KcXnorNetwork has
// all in one tensor. TensorFlow looks at every input of an op that is called
// eagerly for longer than a small layer takes.
//
// That tensor is a header of 32-bit words, the number of stages and then the
// numbers of each (see xnor_stages.h), and then all arrays in their order. The
// header and every array are filled up to whole groups of 16 words.
#include <utility>
#include <vector>

#include "register.h"
#include "xnor_inputs.h"
#include "xnor_stages.h"

namespace keras_compress {
namespace {

constexpr int64_t kGroup = 16;
// More than any network has, and few enough to add up without overflow.
constexpr int64_t kMostStages = 1 << 16;

int64_t Filled(int64_t words) { return (words + kGroup - 1) / kGroup * kGroup; }

// Arrays of one tensor, as long as there are some.
class OneTensor : public XnorArrays {
 public:
  explicit OneTensor(const Tensor& network)
      : words_(network.data<uint32_t>()), size_(network.dim(0)) {}

  const void* Take(const char*, TF_DataType, int64_t count,
                   Status* status) override {
    if (count < 0 || Filled(count) > size_ - next_) {
      status->Invalid("`network` is not as long as its stages need");
      return nullptr;
    }
    const uint32_t* found = words_ + next_;
    next_ += Filled(count);
    return found;
  }

  // The numbers of all stages.
  bool Program(std::vector<int64_t>* program, Status* status) {
    const int64_t count = size_ > 0 ? words_[0] : 0;
    const int64_t numbers = count * kStageNumbers;
    if (count < 1 || count > kMostStages || Filled(1 + numbers) > size_) {
      return status->Invalid("`network` does not begin with a list of stages");
    }
    program->assign(words_ + 1, words_ + 1 + numbers);
    next_ = Filled(1 + numbers);
    return true;
  }

  bool AllTaken(Status* status) const {
    return next_ == size_ ||
           status->Invalid("`network` is not as long as its stages need");
  }

 private:
  const uint32_t* words_;
  int64_t size_;
  int64_t next_ = 0;
};

void ComputeNetwork(void*, TF_OpKernelContext* context) {
  Status status;
  const Tensor network = Tensor::Input(context, 1, &status);
  std::vector<int64_t> program;
  std::vector<KcXnorStage> stages;
  if (status.ok() && network.CheckRank("network", 1, &status)) {
    OneTensor arrays(network);
    if (arrays.Program(&program, &status) &&
        ReadStages(program, XnorOutputKind(context), &arrays, &stages,
                   &status) &&
        arrays.AllTaken(&status)) {
      RunNetwork(context, stages, &status);
    }
  }
  if (!status.ok()) TF_OpKernelContext_Failure(context, status.get());
}

// The inputs of an op behind the first; their data is there for as long as
// this object.
class Inputs : public XnorArrays {
 public:
  explicit Inputs(TF_OpKernelContext* context)
      : context_(context), count_(TF_NumInputs(context)) {}

  const void* Take(const char* name, TF_DataType type, int64_t count,
                   Status* status) override {
    if (next_ == count_ || TF_InputDatatype(context_, next_) != type) {
      status->Invalid("`" + std::string(name) +
                      "` must be the next of `arrays`");
      return nullptr;
    }
    Tensor tensor = Tensor::Input(context_, next_++, status);
    if (!status->ok()) return nullptr;
    int64_t size = 1;
    for (int i = 0; i < tensor.rank(); ++i) size *= tensor.dim(i);
    if (size != count) {
      status->Invalid("`" + std::string(name) + "` must hold " +
                      std::to_string(count) + " numbers. Received: shape " +
                      tensor.shape());
      return nullptr;
    }
    held_.push_back(std::move(tensor));
    return held_.back().data<void>();
  }

  bool AllTaken(Status* status) const {
    return next_ == count_ ||
           status->Invalid("`arrays` must be those of the stages alone");
  }

 private:
  TF_OpKernelContext* context_;
  int count_;
  int next_ = 1;
  std::vector<Tensor> held_;
};

void* Create(TF_OpKernelConstruction* construction) {
  Status status;
  auto* program = new std::vector<int64_t>();
  int32_t length = 0;
  int32_t unused = 0;
  TF_OpKernelConstruction_GetAttrSize(construction, "program", &length, &unused,
                                      status.get());
  if (status.ok() && length > 0) {
    program->resize(static_cast<size_t>(length));
    TF_OpKernelConstruction_GetAttrInt64List(
        construction, "program", program->data(), length, status.get());
  }
  if (!status.ok()) {
    TF_OpKernelConstruction_Failure(construction, status.get());
  }
  return program;
}

void Delete(void* program) {
  delete static_cast<std::vector<int64_t>*>(program);
}

void ComputeStages(void* kernel, TF_OpKernelContext* context) {
  const auto& program = *static_cast<std::vector<int64_t>*>(kernel);
  Status status;
  Inputs arrays(context);
  std::vector<KcXnorStage> stages;
  if (ReadStages(program, XnorOutputKind(context), &arrays, &stages, &status) &&
      arrays.AllTaken(&status)) {
    RunNetwork(context, stages, &status);
  }
  if (!status.ok()) TF_OpKernelContext_Failure(context, status.get());
}

// What outputs there are stands in a tensor, or in an attribute that shape
// functions of the C API do not see.
void Infer(TF_ShapeInferenceContext* context, TF_Status* status) {
  TF_ShapeInferenceContextSetUnknownShape(context, status);
}

TF_OpDefinitionBuilder* Definition(const char* name) {
  TF_OpDefinitionBuilder* builder = TF_NewOpDefinitionBuilder(name);
  TF_OpDefinitionBuilderAddAttr(builder, "T: {float, uint32}");
  TF_OpDefinitionBuilderAddAttr(builder, "Tout: {float, int32, uint32}");
  TF_OpDefinitionBuilderAddOutput(builder, "outputs: Tout");
  TF_OpDefinitionBuilderSetShapeInferenceFunction(builder, Infer);
  TF_OpDefinitionBuilderAddInput(builder, "inputs: T");
  return builder;
}

}  // namespace

void RegisterXnorNetwork() {
  TF_OpDefinitionBuilder* builder = Definition("KcXnorNetwork");
  TF_OpDefinitionBuilderAddInput(builder, "network: uint32");
  RegisterOp(builder);
  RegisterCpuKernel("KcXnorNetwork", nullptr, ComputeNetwork, nullptr);
}

void RegisterXnorStages() {
  TF_OpDefinitionBuilder* builder = Definition("KcXnorStages");
  TF_OpDefinitionBuilderAddAttr(builder,
                                "types: list({float, int32, uint32}) >= 0");
  TF_OpDefinitionBuilderAddAttr(builder, "program: list(int)");
  TF_OpDefinitionBuilderAddInput(builder, "arrays: types");
  RegisterOp(builder);
  RegisterCpuKernel("KcXnorStages", Create, ComputeStages, Delete);
}

}  // namespace keras_compress
