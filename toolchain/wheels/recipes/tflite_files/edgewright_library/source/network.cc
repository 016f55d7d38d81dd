#include "network.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <numeric>
#include <utility>

#include "boxes.h"
#include "class_map.h"
#include "failure.h"
#include "numbers.h"
#include "sounds.h"

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
  description_.opt_level = model_.opt_level.c_str();
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
  given_.reset();
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
  const auto size = fitting(tensor.shape);
  const std::vector<int64_t> shape{1, static_cast<int64_t>(picture.height),
                                   static_cast<int64_t>(picture.width),
                                   static_cast<int64_t>(picture.channels)};
  if (tensor.type == EDGEWRIGHT_UINT8 && tensor.shape == shape) {
    set(nullptr, EDGEWRIGHT_UINT8, picture.pixels.data(), picture.pixels.size());
    given_ = Shown{picture.width, picture.height, size, {picture.width, picture.height, 0, 0}};
    return;
  }
  if (!model_.preprocessing || !size) {
    fail(EDGEWRIGHT_MEANING_ERROR,
         "nothing says how a picture becomes the input of " + model_.name,
         "write [preprocessing] into the model's TOML file, convert and deploy again");
  }
  const std::vector<float> numbers = prepared(picture, *model_.preprocessing, *size);
  take(to, numbers);
  const Frame place = frame(picture.width, picture.height, *model_.preprocessing, *size);
  given_ = Shown{picture.width, picture.height, size, place};
}

void Network::set_sound(const std::vector<float>& samples) {
  Values& to = inputs_.at(named(nullptr, own_, inputs_, "input"));
  const Tensor& tensor = *to.tensor;
  const auto& how = model_.spectrogram;
  if (!how || model_.batch != 1 || tensor.count % how->coefficients.value_or(how->bands) != 0) {
    fail(EDGEWRIGHT_MEANING_ERROR,
         "nothing says how a sound becomes the input of " + model_.name + " at batch " +
             std::to_string(model_.batch),
         "give its whole input by edgewright_set, or write [spectrogram] into the model's TOML "
         "file, convert and deploy again");
  }
  given_.reset();
  take(to, prepared(samples, *how, tensor.count));
}

// Gives an input real numbers, rounded where it is.
void Network::take(Values& to, const std::vector<float>& real) const {
  const Tensor& tensor = *to.tensor;
  to.ready = false;
  if (tensor.quantization) {
    quantize(real.data(), EDGEWRIGHT_FLOAT32, to.bytes.data(), tensor.type, *tensor.quantization,
             real.size());
  } else {
    convert(real.data(), EDGEWRIGHT_FLOAT32, to.bytes.data(), tensor.type, real.size());
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
  shown_ = std::exchange(given_, std::nullopt);
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
    classes[i] = edgewright_class{label(number, numbered_[i]), number, scores[number]};
  }
  return count;
}

size_t Network::detect(double score, edgewright_box* boxes, size_t most) {
  const size_t classes = labels_.empty() ? model_.classes.value_or(0) : labels_.size();
  if (!model_.detection || classes == 0) {
    fail(EDGEWRIGHT_MEANING_ERROR, "nothing says how outputs of " + model_.name + " become boxes",
         "write [detection] into the model's TOML file, convert and deploy again");
  }
  const Shown& picture = shown();
  std::vector<Box> found = decoded(real_outputs(), *model_.detection, classes,
                                   picture.size->width, picture.size->height);
  found.erase(std::find_if(found.begin(), found.end(),
                           [&](const Box& box) { return !(box.score >= score); }),
              found.end());
  const size_t count = std::min(most, found.size());
  const auto left = static_cast<double>(picture.place.left);
  const auto top = static_cast<double>(picture.place.top);
  const double wide = static_cast<double>(picture.place.width) / static_cast<double>(picture.width);
  const double tall =
      static_cast<double>(picture.place.height) / static_cast<double>(picture.height);
  numbered_.assign(count, "");
  for (size_t i = 0; i < count; ++i) {
    const auto& [corners, sure, number] = found[i];
    boxes[i] = edgewright_box{label(number, numbered_[i]), number, sure,
                              (corners[0] - left) / wide, (corners[1] - top) / tall,
                              (corners[2] - left) / wide, (corners[3] - top) / tall};
  }
  return count;
}

void Network::segment(uint8_t* classes, size_t count) const {
  const Shown& picture = shown();
  if (classes == nullptr || count != picture.width * picture.height) {
    fail(EDGEWRIGHT_INPUT_ERROR, "there is room for " + std::to_string(count) + " pixels",
         "the picture has " + std::to_string(picture.width * picture.height));
  }
  const std::vector<uint8_t> found = class_map(real_outputs(), model_.classes, *picture.size,
                                               picture.place, picture.width, picture.height);
  std::copy(found.begin(), found.end(), classes);
}

// The name of a class; where the release has none, one that is made up.
const char* Network::label(size_t number, std::string& made) const {
  if (number < labels_.size()) return labels_[number];
  made = "class " + std::to_string(number);
  return made.c_str();
}

// The picture of the last run.
const Network::Shown& Network::shown() const {
  if (!ran_) fail(EDGEWRIGHT_INPUT_ERROR, model_.name + " has not run", "call edgewright_run");
  if (!shown_ || !shown_->size) {
    fail(EDGEWRIGHT_INPUT_ERROR, model_.name + " was given no picture",
         "give it by edgewright_set_picture, which knows where it lies in the input");
  }
  return *shown_;
}

// Outputs of the first sample with the real numbers that whole ones stand for.
std::vector<Output> Network::real_outputs() const {
  std::vector<Output> found;
  for (const std::string& name : model_.order_out) {
    const Values& from = outputs_.at(name);
    const Tensor& tensor = *from.tensor;
    if (tensor.shape.empty() || tensor.shape[0] < 1) {
      fail(EDGEWRIGHT_MEANING_ERROR, described(tensor) + ", which has no batch",
           "take it by edgewright_get");
    }
    const size_t count = tensor.count / static_cast<size_t>(tensor.shape[0]);
    Output output{name, {tensor.shape.begin() + 1, tensor.shape.end()},
                  !is_real(tensor.type) && !tensor.quantization, std::vector<double>(count)};
    if (tensor.quantization) {
      std::vector<float> real(count);
      to_real(from.bytes.data(), tensor.type, tensor.quantization, real.data(), count);
      output.numbers.assign(real.begin(), real.end());
    } else {
      convert(from.bytes.data(), tensor.type, output.numbers.data(), EDGEWRIGHT_FLOAT64, count);
    }
    found.push_back(std::move(output));
  }
  return found;
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
