// ExecuTorch's C++ runtime as functions that a Python of any version can call.
//
// Every function that can fail returns 0, or one of ExecuTorch's error codes; what the runtime said
// of it is had by executorch_why, on the same thread. Sizes are elements, types are ExecuTorch's
// ScalarType. A network is used by one thread at a time.

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include <executorch/extension/module/module.h>
#include <executorch/runtime/executor/method.h>
#include <executorch/runtime/platform/platform.h>

#define EXPORTED extern "C" __attribute__((visibility("default")))

namespace executorch::extension::threadpool {
// Of threadpool.h, which the published package doesn't have.
class ThreadPool {
 public:
  size_t get_thread_count() const;
  bool _unsafe_reset_threadpool(uint32_t threads);
};
ThreadPool* get_threadpool();
}  // namespace executorch::extension::threadpool

namespace {

using executorch::aten::ScalarType;
using executorch::aten::Tensor;
using executorch::aten::TensorImpl;
using executorch::extension::Module;
using executorch::runtime::Error;
using executorch::runtime::EValue;
using executorch::runtime::Method;
using executorch::runtime::PalImpl;
using executorch::runtime::Program;
using executorch::runtime::Result;
using executorch::runtime::TensorInfo;

constexpr size_t kMostDimensions = 16;
constexpr size_t kLongestReason = 2000;

thread_local std::string reason;
std::atomic<size_t> networks{0};  // that are open: XNNPACK's part of them has the pool's address

void keep(et_timestamp_t, et_pal_log_level_t level, const char*, const char*, size_t,
          const char* message, size_t length) {
  if ((level == kError || level == kFatal) && reason.size() < kLongestReason) {
    reason.append(reason.empty() ? "" : "; ").append(message, length);
  }
}

const bool kept = executorch::runtime::register_pal(PalImpl::create(keep, __FILE__));

struct Input {
  std::vector<TensorImpl::SizesType> sizes;
  std::unique_ptr<TensorImpl> tensor;
};

struct Described {
  int32_t type;
  int32_t rank;
  int32_t sizes[kMostDimensions];
};

int failed(Error error, const char* what) {
  if (reason.empty()) reason = what;
  return static_cast<int>(error);
}

template <typename Sizes>
int describe(ScalarType type, const Sizes& sizes, Described* into) {
  if (sizes.size() > kMostDimensions) {
    return failed(Error::NotSupported, "a tensor has more than 16 dimensions");
  }
  into->type = static_cast<int32_t>(type);
  into->rank = static_cast<int32_t>(sizes.size());
  for (size_t axis = 0; axis < sizes.size(); ++axis) into->sizes[axis] = sizes[axis];
  return 0;
}

}  // namespace

struct Network {
  std::unique_ptr<Module> module;
  Method* method = nullptr;
  std::vector<Input> inputs;
};

EXPORTED const char* executorch_why() { return reason.c_str(); }

// For all networks that are opened afterwards, of every kernel. Refused while some are open on
// another number.
EXPORTED int executorch_set_threads(uint32_t threads) {
  reason.clear();
  auto* pool = executorch::extension::threadpool::get_threadpool();
  if (pool == nullptr || threads == 0) {
    return failed(Error::InvalidArgument, "it has no pool of so many threads");
  }
  if (pool->get_thread_count() == threads) return 0;
  if (networks > 0) {
    return failed(Error::InvalidState, "other networks are open on another number of threads");
  }
  if (!pool->_unsafe_reset_threadpool(threads)) {
    return failed(Error::Internal, "it has no pool of so many threads");
  }
  return 0;
}

// Reads a program from a file, every offset in it checked, and makes one of its methods ready.
EXPORTED int executorch_open(const char* path, const char* name, Network** into) {
  reason.clear();
  auto network = std::make_unique<Network>();
  network->module = std::make_unique<Module>(path, Module::LoadMode::Mmap);
  Error error = network->module->load(Program::Verification::InternalConsistency);
  if (error != Error::Ok) return failed(error, "it is no program of ExecuTorch");
  auto method = network->module->method(name);
  if (!method.ok()) return failed(method.error(), "it has no such method");
  network->method = *method;
  network->inputs.resize(network->method->inputs_size());
  ++networks;
  *into = network.release();
  return 0;
}

EXPORTED void executorch_close(Network* network) {
  delete network;
  --networks;
}

EXPORTED size_t executorch_inputs(const Network* network) { return network->inputs.size(); }

EXPORTED size_t executorch_outputs(const Network* network) {
  return network->method->outputs_size();
}

// What the program says of an input or an output; of open sizes it says the largest.
EXPORTED int executorch_describe(const Network* network, int output, size_t index,
                                 Described* into) {
  reason.clear();
  const auto meta = network->method->method_meta();
  const Result<TensorInfo> info =
      output ? meta.output_tensor_meta(index) : meta.input_tensor_meta(index);
  if (!info.ok()) return failed(info.error(), "it is no tensor");
  return describe(info->scalar_type(), info->sizes(), into);
}

// Gives the next inferences an input. Whether the runtime copies `data` is the program's matter, so
// it must be there until another takes its place.
EXPORTED int executorch_set_input(Network* network, size_t index, const Described* given,
                                  void* data) {
  reason.clear();
  if (index >= network->inputs.size() || given->rank < 0 ||
      static_cast<size_t>(given->rank) > kMostDimensions) {
    return failed(Error::InvalidArgument, "there is no such input");
  }
  Input& input = network->inputs[index];
  input.sizes.assign(given->sizes, given->sizes + given->rank);
  input.tensor = std::make_unique<TensorImpl>(static_cast<ScalarType>(given->type), given->rank,
                                              input.sizes.data(), data);
  const Error error = network->method->set_input(EValue(Tensor(input.tensor.get())), index);
  return error == Error::Ok ? 0 : failed(error, "the input doesn't fit the program");
}

EXPORTED int executorch_run(Network* network) {
  reason.clear();
  const Error error = network->method->execute();
  return error == Error::Ok ? 0 : failed(error, "the inference failed");
}

// The memory of an output, which the next inference writes again.
EXPORTED int executorch_output(const Network* network, size_t index, Described* into,
                               const void** data, size_t* bytes) {
  reason.clear();
  if (index >= network->method->outputs_size()) {
    return failed(Error::InvalidArgument, "there is no such output");
  }
  const EValue& value = network->method->get_output(index);
  if (!value.isTensor()) return failed(Error::NotSupported, "an output is no tensor");
  const Tensor tensor = value.toTensor();
  *data = tensor.const_data_ptr();
  *bytes = tensor.nbytes();
  return describe(tensor.scalar_type(), tensor.sizes(), into);
}
