#include "network.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <numeric>
#include <utility>

#include "failure.h"
#include "numbers.h"

namespace edgewright {

std::string described(const Tensor& tensor) {
  std::string shape;
  for (const int64_t length : tensor.shape) {
    shape += (shape.empty() ? "" : ", ") + std::to_string(length);
  }
  return tensor.name + " is " + name_of(tensor.type) + " (" + shape + ")";
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

void Network::load() {
  engine_ = model_.runtime == kTvm ? open_tvm(model_, threads_) : open_tflite(model_, threads_);
  for (size_t index = 0; index < model_.inputs.size(); ++index) {
    const Tensor& tensor = model_.tensors_in.at(model_.inputs[index]);
    std::vector<uint8_t> bytes(tensor.count * size_of(tensor.type));
    inputs_[tensor.name] = Values{&tensor, index, std::move(bytes)};
  }
  for (size_t index = 0; index < model_.outputs.size(); ++index) {
    const Tensor& tensor = model_.tensors_out.at(model_.outputs[index]);
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
  description_.runtime = model_.runtime.c_str();
  description_.variant = model_.variant.c_str();
  description_.task = model_.task.c_str();
  description_.release = model_.release.c_str();
  description_.batch = model_.batch;
  description_.threads = engine_->threads();
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
  for (const auto& [name, values] : inputs_) {
    engine_->set_input(values.index, *values.tensor, values.bytes);
  }
  const auto started = std::chrono::steady_clock::now();
  engine_->run();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - started;
  seconds_ = took.count();
  for (auto& [name, values] : outputs_) {
    engine_->get_output(values.index, *values.tensor, values.bytes);
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
