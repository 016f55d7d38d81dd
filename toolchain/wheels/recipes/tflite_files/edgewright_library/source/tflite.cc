// A network's file under TensorFlow Lite with XNNPACK, by their C interfaces.

#include <cstdarg>
#include <cstdio>
#include <utility>

#include "engine.h"
#include "failure.h"
#include "numbers.h"
#include "tensorflow/lite/c/c_api.h"
#include "tensorflow/lite/delegates/xnnpack/xnnpack_delegate.h"

namespace edgewright {
namespace {

constexpr size_t kLongestReport = 500;

// The type of an interpreter's tensor; 0 for one that no manifest has.
edgewright_type type_of(const TfLiteTensor* tensor) {
  switch (TfLiteTensorType(tensor)) {
    case kTfLiteBool: return EDGEWRIGHT_BOOL;
    case kTfLiteFloat16: return EDGEWRIGHT_FLOAT16;
    case kTfLiteFloat32: return EDGEWRIGHT_FLOAT32;
    case kTfLiteFloat64: return EDGEWRIGHT_FLOAT64;
    case kTfLiteInt8: return EDGEWRIGHT_INT8;
    case kTfLiteInt16: return EDGEWRIGHT_INT16;
    case kTfLiteInt32: return EDGEWRIGHT_INT32;
    case kTfLiteInt64: return EDGEWRIGHT_INT64;
    case kTfLiteUInt8: return EDGEWRIGHT_UINT8;
    case kTfLiteUInt16: return EDGEWRIGHT_UINT16;
    case kTfLiteUInt32: return EDGEWRIGHT_UINT32;
    case kTfLiteUInt64: return EDGEWRIGHT_UINT64;
    default: return edgewright_type{};
  }
}

// Whether a tensor of the interpreter holds so many numbers.
bool holds(const TfLiteTensor* tensor, size_t count) {
  return tensor != nullptr && size_of(type_of(tensor)) != 0 &&
         TfLiteTensorByteSize(tensor) == count * size_of(type_of(tensor)) &&
         (count == 0 || TfLiteTensorData(tensor) != nullptr);
}

struct ModelDeleter {
  void operator()(TfLiteModel* model) const { TfLiteModelDelete(model); }
};

struct DelegateDeleter {
  void operator()(TfLiteDelegate* delegate) const { TfLiteXNNPackDelegateDelete(delegate); }
};

struct InterpreterDeleter {
  void operator()(TfLiteInterpreter* interpreter) const { TfLiteInterpreterDelete(interpreter); }
};

class TfLiteEngine : public Engine {
 public:
  TfLiteEngine(const Model& model, size_t threads) : name_(model.name), threads_(threads) {
    const std::string cannot = "tflite can't load " + model.file;
    file_.reset(TfLiteModelCreateFromFileWithErrorReporter(model.file.c_str(), &report, this));
    if (!file_) failed(cannot);
    // the C interface has no delegate by default, as Python's has
    auto options = TfLiteXNNPackDelegateOptionsDefault();
    options.num_threads = static_cast<int32_t>(threads_);
    delegate_.reset(TfLiteXNNPackDelegateCreate(&options));
    if (!interpreted(delegate_.get())) {
      // it takes no graph with a shape that is known in a run alone
      reported_.clear();
      if (!interpreted(nullptr)) failed(cannot);
    }
    const auto inputs = TfLiteInterpreterGetInputTensorCount(interpreter_.get());
    const auto outputs = TfLiteInterpreterGetOutputTensorCount(interpreter_.get());
    if (static_cast<size_t>(inputs) != model.inputs.size() ||
        static_cast<size_t>(outputs) != model.outputs.size()) {
      failed(cannot + ": it has other inputs and outputs than the release says");
    }
    for (int index = 0; index < inputs; ++index) {
      const Tensor& tensor = model.tensors_in.at(model.inputs[index]);
      if (!holds(TfLiteInterpreterGetInputTensor(interpreter_.get(), index), tensor.count)) {
        failed(cannot + ": it has another input than " + described(tensor));
      }
    }
  }

  size_t threads() const override { return threads_; }

  void set_input(size_t index, const Tensor& tensor, const std::vector<uint8_t>& bytes) override {
    TfLiteTensor* to =
        TfLiteInterpreterGetInputTensor(interpreter_.get(), static_cast<int32_t>(index));
    convert(bytes.data(), tensor.type, TfLiteTensorData(to), type_of(to), tensor.count);
  }

  void run() override {
    reported_.clear();
    if (TfLiteInterpreterInvoke(interpreter_.get()) != kTfLiteOk) {
      failed("tflite failed with " + name_);
    }
  }

  void get_output(size_t index, const Tensor& tensor, std::vector<uint8_t>& bytes) override {
    const TfLiteTensor* from =
        TfLiteInterpreterGetOutputTensor(interpreter_.get(), static_cast<int32_t>(index));
    // its size is checked when it is there: one may be known after a run alone
    if (!holds(from, tensor.count)) {
      failed(name_ + " gave another output than " + described(tensor));
    }
    bytes.resize(tensor.count * size_of(tensor.type));
    convert(TfLiteTensorData(from), type_of(from), bytes.data(), tensor.type, tensor.count);
  }

 private:
  // What the interpreter said of its last trouble, one line.
  static void report(void* self, const char* format, va_list arguments) {
    char text[kLongestReport];
    std::vsnprintf(text, sizeof text, format, arguments);
    std::string& reported = static_cast<TfLiteEngine*>(self)->reported_;
    if (reported.size() < kLongestReport) {
      reported += (reported.empty() ? "" : ", ") + std::string(text);
    }
  }

  [[noreturn]] void failed(const std::string& what) const {
    fail(EDGEWRIGHT_RUNTIME_ERROR, what + (reported_.empty() ? "" : ": " + reported_));
  }

  // Whether the model is ready to run, under a delegate where one is given.
  bool interpreted(TfLiteDelegate* delegate) {
    const std::unique_ptr<TfLiteInterpreterOptions, decltype(&TfLiteInterpreterOptionsDelete)>
        options(TfLiteInterpreterOptionsCreate(), &TfLiteInterpreterOptionsDelete);
    TfLiteInterpreterOptionsSetNumThreads(options.get(), static_cast<int32_t>(threads_));
    TfLiteInterpreterOptionsSetErrorReporter(options.get(), &report, this);
    if (delegate != nullptr) TfLiteInterpreterOptionsAddDelegate(options.get(), delegate);
    interpreter_.reset(TfLiteInterpreterCreate(file_.get(), options.get()));
    return interpreter_ && TfLiteInterpreterAllocateTensors(interpreter_.get()) == kTfLiteOk;
  }

  std::string name_;
  size_t threads_;
  std::string reported_;
  // destroyed in the reverse order: the interpreter uses the model and the delegate
  std::unique_ptr<TfLiteModel, ModelDeleter> file_;
  std::unique_ptr<TfLiteDelegate, DelegateDeleter> delegate_;
  std::unique_ptr<TfLiteInterpreter, InterpreterDeleter> interpreter_;
};

}  // namespace

std::unique_ptr<Engine> open_tflite(const Model& model, size_t threads) {
  return std::make_unique<TfLiteEngine>(model, threads);
}

}  // namespace edgewright
