// A network of a release under one runtime, ready to be called.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "edgewright.h"
#include "engine.h"
#include "outputs.h"
#include "pictures.h"
#include "release.h"

namespace edgewright {

// Its methods throw Failure as edgewright.h has the statuses of the functions of their names.
class Network {
 public:
  Network(Model model, size_t threads);
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;

  const edgewright_description& description() const { return description_; }
  double seconds() const { return seconds_; }

  void set(const char* input, edgewright_type type, const void* values, size_t count);
  void set_picture(const Picture& picture);
  void set_sound(const std::vector<float>& samples);
  void run();
  void get(const char* output, edgewright_type type, void* values, size_t count) const;
  size_t classify(edgewright_class* classes, size_t most);
  size_t detect(double score, edgewright_box* boxes, size_t most);
  void segment(uint8_t* classes, size_t count) const;
  void reset();

 private:
  // An input's numbers for the next run, or an output's of the last.
  struct Values {
    const Tensor* tensor;
    size_t index;  // in the file
    std::vector<uint8_t> bytes;
    bool ready = false;
  };

  // A picture that was given, and where it lies in the input; nothing where nothing says that.
  struct Shown {
    size_t width;
    size_t height;
    std::optional<Fitting> size;
    Frame place;
  };

  void load();
  void describe();
  const std::string& named(const char* name, const std::vector<std::string>& own,
                           const std::map<std::string, Values>& all, const char* what) const;
  void take(Values& to, const std::vector<float>& real) const;
  const char* label(size_t number, std::string& made) const;
  const Shown& shown() const;
  std::vector<Output> real_outputs() const;

  Model model_;
  size_t threads_;
  std::map<std::string, Values> inputs_;
  std::map<std::string, Values> outputs_;
  std::vector<std::string> own_;  // inputs without state
  std::optional<Shown> given_;  // for the next run
  std::optional<Shown> shown_;  // to the last
  bool ran_ = false;
  double seconds_ = 0;
  std::unique_ptr<Engine> engine_;
  std::vector<edgewright_tensor> described_in_;
  std::vector<edgewright_tensor> described_out_;
  std::vector<const char*> labels_;
  std::vector<std::string> numbered_;  // labels that were made up for the last answer
  edgewright_description description_{};
};

}  // namespace edgewright
