#include "network.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <numeric>
#include <utility>

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

std::string described(const Tensor& tensor) {
  std::string shape;
  for (const int64_t length : tensor.shape) {
    shape += (shape.empty() ? "" : ", ") + std::to_string(length);
  }
  return tensor.name + " is " + name_of(tensor.type) + " (" + shape + ")";
}

}  // namespace

void ModelDeleter::operator()(TfLiteModel* model) const { TfLiteModelDelete(model); }

void DelegateDeleter::operator()(TfLiteDelegate* delegate) const {
  TfLiteXNNPackDelegateDelete(delegate);
}

void InterpreterDeleter::operator()(TfLiteInterpreter* interpreter) const {
  TfLiteInterpreterDelete(interpreter);
}

Network::Network(Model model, size_t threads)
    : model_(std::move(model)), threads_(threads == 0 ? model_.threads : threads) {
  load();
  const auto fed = [this](const std::string& name) {
    return std::any_of(model_.feeds.begin(), model_.feeds.end(),
                       [&](const auto& feed) { return feed.first == name; });
  };
  for (const std::string& name : model_.order_in) {
    if (!fed(name)) own_.push_back(name);
  }
  reset();
  describe();
}

void Network::report(void* self, const char* format, va_list arguments) {
  char text[kLongestReport];
  std::vsnprintf(text, sizeof text, format, arguments);
  std::string& reported = static_cast<Network*>(self)->reported_;
  if (reported.size() < kLongestReport) reported += (reported.empty() ? "" : ", ") + std::string(text);
}

void Network::failed(const std::string& what) const {
  fail(EDGEWRIGHT_RUNTIME_ERROR, what + (reported_.empty() ? "" : ": " + reported_));
}

// Whether the model is ready to run, under a delegate where one is given.
bool Network::interpreted(TfLiteDelegate* delegate) {
  const std::unique_ptr<TfLiteInterpreterOptions, decltype(&TfLiteInterpreterOptionsDelete)>
      options(TfLiteInterpreterOptionsCreate(), &TfLiteInterpreterOptionsDelete);
  TfLiteInterpreterOptionsSetNumThreads(options.get(), static_cast<int32_t>(threads_));
  TfLiteInterpreterOptionsSetErrorReporter(options.get(), &report, this);
  if (delegate != nullptr) TfLiteInterpreterOptionsAddDelegate(options.get(), delegate);
  interpreter_.reset(TfLiteInterpreterCreate(file_.get(), options.get()));
  return interpreter_ && TfLiteInterpreterAllocateTensors(interpreter_.get()) == kTfLiteOk;
}

void Network::load() {
  const std::string cannot = "tflite can't load " + model_.file;
  file_.reset(TfLiteModelCreateFromFileWithErrorReporter(model_.file.c_str(), &report, this));
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
  if (static_cast<size_t>(inputs) != model_.inputs.size() ||
      static_cast<size_t>(outputs) != model_.outputs.size()) {
    failed(cannot + ": it has other inputs and outputs than the release says");
  }
  for (int index = 0; index < inputs; ++index) {
    const Tensor& tensor = model_.tensors_in.at(model_.inputs[index]);
    if (!holds(TfLiteInterpreterGetInputTensor(interpreter_.get(), index), tensor.count)) {
      failed(cannot + ": it has another input than " + described(tensor));
    }
    std::vector<uint8_t> bytes(tensor.count * size_of(tensor.type));
    inputs_[tensor.name] = Values{&tensor, index, std::move(bytes)};
  }
  for (int index = 0; index < outputs; ++index) {
    const Tensor& tensor = model_.tensors_out.at(model_.outputs[index]);
    // its size is checked when it is there: one may be known after a run alone
    outputs_[tensor.name] = Values{&tensor, index, {}};
  }
}

void Network::describe() {
  const auto told = [](const std::vector<std::string>& order,
                       const std::map<std::string, Tensor>& tensors) {
    std::vector<edgewright_tensor> found;
    for (const std::string& name : order) {
      const Tensor& tensor = tensors.at(name);
      const Quantization how = tensor.quantization.value_or(Quantization{0, 0});
      found.push_back({tensor.name.c_str(), tensor.type, tensor.shape.size(),
                       tensor.shape.data(), tensor.count, how.scale, how.zero});
    }
    return found;
  };
  described_in_ = told(model_.order_in, model_.tensors_in);
  described_out_ = told(model_.order_out, model_.tensors_out);
  for (const std::string& label : model_.labels) labels_.push_back(label.c_str());
  description_.name = model_.name.c_str();
  description_.runtime = "tflite";
  description_.variant = model_.variant.c_str();
  description_.task = model_.task.c_str();
  description_.release = model_.release.c_str();
  description_.batch = model_.batch;
  description_.threads = threads_;
  description_.inputs = described_in_.data();
  description_.input_count = described_in_.size();
  description_.outputs = described_out_.data();
  description_.output_count = described_out_.size();
  description_.labels = labels_.data();
  description_.label_count = labels_.size();
}

const std::string& Network::named(const char* name, const std::vector<std::string>& own,
                                  const std::map<std::string, Values>& all,
                                  const char* what) const {
  std::string listed;
  for (const std::string& one : own) listed += (listed.empty() ? "" : ", ") + one;
  if (name == nullptr && own.size() == 1) return own[0];
  if (name == nullptr) {
    fail(EDGEWRIGHT_INPUT_ERROR, model_.name + " has the " + what + "s " + listed,
         "give each by its name");
  }
  const auto found = all.find(name);
  if (found != all.end()) return found->first;
  fail(EDGEWRIGHT_INPUT_ERROR, model_.name + " has no " + what + " " + name,
       "it has " + listed);
}

void Network::set(const char* input, edgewright_type type, const void* values, size_t count) {
  Values& to = inputs_.at(named(input, own_, inputs_, "input"));
  const Tensor& tensor = *to.tensor;
  if (size_of(type) == 0 || values == nullptr) {
    fail(EDGEWRIGHT_INPUT_ERROR, "no numbers were given", described(tensor));
  }
  if (count != tensor.count) {
    fail(EDGEWRIGHT_INPUT_ERROR, std::to_string(count) + " numbers were given",
         described(tensor) + ", which are " + std::to_string(tensor.count));
  }
  to.ready = false;
  if (is_real(type) && tensor.quantization) {
    if (!quantize(values, type, to.bytes.data(), tensor.type, *tensor.quantization, count)) {
      fail(EDGEWRIGHT_INPUT_ERROR, "a number is NaN", described(tensor));
    }
  } else if (!goes_into(type, tensor.type)) {
    fail(EDGEWRIGHT_INPUT_ERROR, std::string("numbers of ") + name_of(type) + " were given",
         described(tensor));
  } else if (!convert(values, type, to.bytes.data(), tensor.type, count)) {
    fail(EDGEWRIGHT_INPUT_ERROR, std::string("a number does not fit into ") + name_of(tensor.type),
         described(tensor));
  }
  to.ready = true;
}

void Network::set_picture(const Picture& picture) {
  Values& to = inputs_.at(named(nullptr, own_, inputs_, "input"));
  const Tensor& tensor = *to.tensor;
  if (model_.batch != 1) {
    fail(EDGEWRIGHT_INPUT_ERROR,
         model_.name + " is deployed at batch " + std::to_string(model_.batch),
         "give its whole input by edgewright_set");
  }
  const std::vector<int64_t> shape{1, static_cast<int64_t>(picture.height),
                                   static_cast<int64_t>(picture.width),
                                   static_cast<int64_t>(picture.channels)};
  if (tensor.type == EDGEWRIGHT_UINT8 && tensor.shape == shape) {
    set(nullptr, EDGEWRIGHT_UINT8, picture.pixels.data(), picture.pixels.size());
    return;
  }
  const auto size = fitting(tensor.shape);
  if (!model_.preprocessing || !size) {
    fail(EDGEWRIGHT_MEANING_ERROR,
         "nothing says how a picture becomes the input of " + model_.name,
         "write [preprocessing] into the model's TOML file, convert and deploy again");
  }
  const std::vector<float> numbers = prepared(picture, *model_.preprocessing, *size);
  to.ready = false;
  if (tensor.quantization) {
    quantize(numbers.data(), EDGEWRIGHT_FLOAT32, to.bytes.data(), tensor.type,
             *tensor.quantization, numbers.size());
  } else {
    convert(numbers.data(), EDGEWRIGHT_FLOAT32, to.bytes.data(), tensor.type, numbers.size());
  }
  to.ready = true;
}

void Network::run() {
  for (const std::string& name : own_) {
    if (!inputs_.at(name).ready) {
      fail(EDGEWRIGHT_INPUT_ERROR, model_.name + " was given no " + name,
           "call edgewright_set for each input before each edgewright_run");
    }
  }
  ran_ = false;
  reported_.clear();
  for (auto& [name, values] : inputs_) {
    TfLiteTensor* tensor = TfLiteInterpreterGetInputTensor(interpreter_.get(), values.index);
    convert(values.bytes.data(), values.tensor->type, TfLiteTensorData(tensor), type_of(tensor),
            values.tensor->count);
  }
  const auto started = std::chrono::steady_clock::now();
  if (TfLiteInterpreterInvoke(interpreter_.get()) != kTfLiteOk) {
    failed("tflite failed with " + model_.name);
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - started;
  seconds_ = took.count();
  for (auto& [name, values] : outputs_) {
    const TfLiteTensor* tensor =
        TfLiteInterpreterGetOutputTensor(interpreter_.get(), values.index);
    if (!holds(tensor, values.tensor->count)) {
      failed(model_.name + " gave another output than " + described(*values.tensor));
    }
    values.bytes.resize(values.tensor->count * size_of(values.tensor->type));
    convert(TfLiteTensorData(tensor), type_of(tensor), values.bytes.data(), values.tensor->type,
            values.tensor->count);
  }
  for (auto& [name, values] : inputs_) values.ready = false;
  for (const auto& [input, output] : model_.feeds) {
    Values& to = inputs_.at(input);
    const Values& from = outputs_.at(output);
    convert(from.bytes.data(), from.tensor->type, to.bytes.data(), to.tensor->type,
            to.tensor->count);
  }
  ran_ = true;
}

void Network::get(const char* output, edgewright_type type, void* values, size_t count) const {
  const Values& from = outputs_.at(named(output, model_.order_out, outputs_, "output"));
  const Tensor& tensor = *from.tensor;
  if (!ran_) fail(EDGEWRIGHT_INPUT_ERROR, model_.name + " has not run", "call edgewright_run");
  if (values == nullptr || count != tensor.count) {
    fail(EDGEWRIGHT_INPUT_ERROR, "there is room for " + std::to_string(count) + " numbers",
         described(tensor) + ", which are " + std::to_string(tensor.count));
  }
  if (type == tensor.type) {
    std::memcpy(values, from.bytes.data(), from.bytes.size());
  } else if (type == EDGEWRIGHT_FLOAT32) {
    to_real(from.bytes.data(), tensor.type, tensor.quantization, static_cast<float*>(values),
            count);
  } else {
    fail(EDGEWRIGHT_INPUT_ERROR, std::string("numbers of ") + name_of(type) + " were asked for",
         described(tensor));
  }
}

size_t Network::classify(edgewright_class* classes, size_t most) {
  if (!ran_) fail(EDGEWRIGHT_INPUT_ERROR, model_.name + " has not run", "call edgewright_run");
  const Values& from = outputs_.begin()->second;
  const Tensor& tensor = *from.tensor;
  if (outputs_.size() != 1 || tensor.count < 2 || model_.batch != 1) {
    fail(EDGEWRIGHT_MEANING_ERROR, model_.name + " gives no row of scores",
         "take its outputs by edgewright_get");
  }
  std::vector<double> scores(tensor.count);
  if (tensor.quantization) {
    std::vector<float> real(tensor.count);
    to_real(from.bytes.data(), tensor.type, tensor.quantization, real.data(), real.size());
    std::copy(real.begin(), real.end(), scores.begin());
  } else {
    convert(from.bytes.data(), tensor.type, scores.data(), EDGEWRIGHT_FLOAT64, scores.size());
  }
  std::vector<size_t> order(scores.size());
  std::iota(order.begin(), order.end(), size_t{0});
  const size_t count = std::min(most, order.size());
  // of equal ones the first, and what is no number last
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(count), order.end(),
                    [&](size_t one, size_t other) {
                      const double a = scores[one], b = scores[other];
                      if (std::isnan(a) != std::isnan(b)) return std::isnan(b);
                      return a != b && !std::isnan(a) ? a > b : one < other;
                    });
  numbered_.assign(count, "");
  for (size_t i = 0; i < count; ++i) {
    const size_t number = order[i];
    if (number >= labels_.size()) numbered_[i] = "class " + std::to_string(number);
    const char* label = number < labels_.size() ? labels_[number] : numbered_[i].c_str();
    classes[i] = edgewright_class{label, number, scores[number]};
  }
  return count;
}

void Network::reset() {
  for (const auto& [input, output] : model_.feeds) {
    Values& to = inputs_.at(input);
    const int64_t zero = to.tensor->quantization ? to.tensor->quantization->zero : 0;
    const size_t size = size_of(to.tensor->type);
    for (size_t i = 0; i < to.tensor->count; ++i) {
      convert(&zero, EDGEWRIGHT_INT64, to.bytes.data() + i * size, to.tensor->type, 1);
    }
  }
}

}  // namespace edgewright
