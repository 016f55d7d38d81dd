// Networks of a release in a C++ program on the device: edgewright.h, with owners and exceptions.
//
//     edgewright::Network network("mobilenetv3-large");
//     network.set_picture(pixels.data(), height, width, 3);
//     network.run();
//     for (const auto& found : network.classify(5)) {
//       std::cout << found.score << " " << found.label << "\n";
//     }
//
// What goes wrong is an edgewright::Error, whose text is one line that says what to do. C++11 and
// later.
#ifndef EDGEWRIGHT_HPP
#define EDGEWRIGHT_HPP

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "edgewright.h"

namespace edgewright {

class Error : public std::runtime_error {
 public:
  Error(edgewright_status status, const char* message)
      : std::runtime_error(message), status_(status) {}

  edgewright_status status() const { return status_; }

 private:
  edgewright_status status_;
};

// Throws Error for a status that is none of success.
inline void check(edgewright_status status) {
  if (status != EDGEWRIGHT_OK) throw Error(status, edgewright_error());
}

// The type of a tensor of numbers of T; float16 has none of its own.
template <typename T>
struct TypeOf;
template <> struct TypeOf<bool> { static constexpr edgewright_type value = EDGEWRIGHT_BOOL; };
template <> struct TypeOf<float> { static constexpr edgewright_type value = EDGEWRIGHT_FLOAT32; };
template <> struct TypeOf<double> { static constexpr edgewright_type value = EDGEWRIGHT_FLOAT64; };
template <> struct TypeOf<int8_t> { static constexpr edgewright_type value = EDGEWRIGHT_INT8; };
template <> struct TypeOf<int16_t> { static constexpr edgewright_type value = EDGEWRIGHT_INT16; };
template <> struct TypeOf<int32_t> { static constexpr edgewright_type value = EDGEWRIGHT_INT32; };
template <> struct TypeOf<int64_t> { static constexpr edgewright_type value = EDGEWRIGHT_INT64; };
template <> struct TypeOf<uint8_t> { static constexpr edgewright_type value = EDGEWRIGHT_UINT8; };
template <> struct TypeOf<uint16_t> { static constexpr edgewright_type value = EDGEWRIGHT_UINT16; };
template <> struct TypeOf<uint32_t> { static constexpr edgewright_type value = EDGEWRIGHT_UINT32; };
template <> struct TypeOf<uint64_t> { static constexpr edgewright_type value = EDGEWRIGHT_UINT64; };

// What to load; empty and 0 take what is usual, as in edgewright_options.
struct Options {
  std::string release;
  std::string runtime;
  std::string variant;
  std::size_t batch = 0;
  std::size_t threads = 0;
  std::string opt_level;
};

struct Class {
  std::string label;
  std::size_t number;
  double score;
};

// An object in a picture; edges in pixels of the picture.
struct Box {
  std::string label;
  std::size_t number;
  double score;
  double left;
  double top;
  double right;
  double bottom;
};

// A network, which ends with this object. It can be moved, and serves one thread at a time.
//
// Its methods throw Error, and are otherwise what the functions of their names are.
class Network {
 public:
  explicit Network(const std::string& name, const Options& options = Options()) {
    edgewright_options wanted{};
    if (!options.release.empty()) wanted.release = options.release.c_str();
    if (!options.runtime.empty()) wanted.runtime = options.runtime.c_str();
    if (!options.variant.empty()) wanted.variant = options.variant.c_str();
    wanted.batch = options.batch;
    wanted.threads = options.threads;
    if (!options.opt_level.empty()) wanted.opt_level = options.opt_level.c_str();
    edgewright_network* network = nullptr;
    check(edgewright_load(name.c_str(), &wanted, &network));
    network_.reset(network);
  }

  const edgewright_description& description() const { return *edgewright_describe(get()); }

  std::vector<edgewright_tensor> inputs() const {
    const edgewright_description& of = description();
    return {of.inputs, of.inputs + of.input_count};
  }

  std::vector<edgewright_tensor> outputs() const {
    const edgewright_description& of = description();
    return {of.outputs, of.outputs + of.output_count};
  }

  std::vector<std::string> labels() const {
    const edgewright_description& of = description();
    return {of.labels, of.labels + of.label_count};
  }

  // The numbers of an input, by its name.
  template <typename T>
  void set(const std::string& input, const T* values, std::size_t count) {
    check(edgewright_set(get(), input.c_str(), TypeOf<T>::value, values, count));
  }

  template <typename T>
  void set(const std::string& input, const std::vector<T>& values) {
    set(input, values.data(), values.size());
  }

  // The numbers of the only input.
  template <typename T>
  void set(const std::vector<T>& values) {
    check(edgewright_set(get(), nullptr, TypeOf<T>::value, values.data(), values.size()));
  }

  void set_picture(const uint8_t* pixels, std::size_t height, std::size_t width,
                   std::size_t channels) {
    check(edgewright_set_picture(get(), pixels, height, width, channels));
    given_pixels_ = height * width;
  }

  // Samples of one channel, between -1 and 1, 16,000 a second.
  void set_sound(const std::vector<float>& samples) {
    check(edgewright_set_sound(get(), samples.data(), samples.size()));
  }

  void run() {
    check(edgewright_run(get()));
    pixels_ = given_pixels_;
  }

  // An output by its name, in its own type; or as float the real numbers that it stands for.
  template <typename T = float>
  std::vector<T> output(const std::string& name) const {
    return copied<T>(name.c_str());
  }

  // The only output.
  template <typename T = float>
  std::vector<T> output() const {
    return copied<T>(nullptr);
  }

  // The best classes of the last run, best first.
  std::vector<Class> classify(std::size_t top = 5) {
    std::vector<edgewright_class> found(top > 0 ? top : 1);
    std::size_t count = top;
    check(edgewright_classify(get(), found.data(), &count));
    std::vector<Class> classes;
    for (std::size_t i = 0; i < count; ++i) {
      classes.push_back(Class{found[i].label, found[i].number, found[i].score});
    }
    return classes;
  }

  // At most `most` objects in the picture of the last run, the surest first.
  std::vector<Box> detect(double score = 0.25, std::size_t most = 300) {
    std::vector<edgewright_box> found(most > 0 ? most : 1);
    std::size_t count = most;
    check(edgewright_detect(get(), score, found.data(), &count));
    std::vector<Box> boxes;
    for (std::size_t i = 0; i < count; ++i) {
      const edgewright_box& box = found[i];
      boxes.push_back(Box{box.label, box.number, box.score, box.left, box.top, box.right,
                          box.bottom});
    }
    return boxes;
  }

  // The class of each pixel of the picture of the last run; 255 where the network saw none.
  std::vector<uint8_t> segment() const {
    std::vector<uint8_t> classes(pixels_ > 0 ? pixels_ : 1);
    check(edgewright_segment(get(), classes.data(), pixels_));
    return classes;
  }

  void reset() { edgewright_reset(get()); }

  double seconds() const { return edgewright_seconds(get()); }

  // For the functions of edgewright.h.
  edgewright_network* get() const { return network_.get(); }

 private:
  struct Deleter {
    void operator()(edgewright_network* network) const { edgewright_free(network); }
  };

  template <typename T>
  std::vector<T> copied(const char* name) const {
    const edgewright_description& of = description();
    std::size_t count = 0;
    for (std::size_t i = 0; i < of.output_count; ++i) {
      if (name == nullptr || std::string(of.outputs[i].name) == name) count = of.outputs[i].count;
    }
    std::vector<T> values(count > 0 ? count : 1);
    check(edgewright_get(get(), name, TypeOf<T>::value, values.data(), count));
    values.resize(count);
    return values;
  }

  std::unique_ptr<edgewright_network, Deleter> network_;
  std::size_t given_pixels_ = 0;  // of the picture that was given last
  std::size_t pixels_ = 0;        // of the picture of the last run
};

}  // namespace edgewright

#endif
