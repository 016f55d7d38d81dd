// What a release folder says of its models: manifest.json, each model's model.json, labels.
//
// All of it is untrusted: sizes are bounded, and a path leads nowhere else than below the release.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "edgewright.h"

namespace edgewright {

// Runtimes, as manifests name them.
constexpr char kTflite[] = "tflite";
constexpr char kTvm[] = "tvm";

// How whole numbers stand for real ones: real = scale * (number - zero).
struct Quantization {
  double scale;
  int64_t zero;
};

struct Tensor {
  std::string name;
  edgewright_type type;
  std::vector<int64_t> shape;
  size_t count;  // numbers in it
  std::optional<Quantization> quantization;
};

// How a picture becomes an input: toolchain.models.preprocessing has it in words.
struct Preprocessing {
  std::string channels;
  std::string resize;
  std::string fit;
  double scale;
  std::vector<double> mean;
  std::vector<double> std;
  double crop;
  uint8_t pad;
};

// How a sound becomes an input: toolchain.models.preprocessing has it in words.
struct Spectrogram {
  size_t window;  // samples of a frame
  size_t hop;
  size_t bands;
  std::optional<size_t> coefficients;
  double lowest;  // Hz
  double highest;
};

// How a detector's outputs become boxes: toolchain.models.detection has it in words.
struct Detection {
  std::string head;
  bool background;
  bool objectness;
  double score;
  double overlap;
  size_t most;
};

struct Model {
  std::string folder;   // of the release
  std::string release;  // its id
  std::string name;
  size_t batch;
  std::string runtime;
  std::string variant;
  std::string opt_level;            // such as O3; empty for a runtime without such levels
  std::string file;                 // its path
  std::vector<std::string> inputs;  // names, in the order that the file has them
  std::vector<std::string> outputs;
  std::map<std::string, Tensor> tensors_in;  // by name
  std::map<std::string, Tensor> tensors_out;
  std::vector<std::string> order_in;  // names, in the network's own order
  std::vector<std::string> order_out;
  std::vector<std::pair<std::string, std::string>> feeds;  // an input and the output it is given
  std::vector<std::string> labels;
  std::string task;
  std::optional<Preprocessing> preprocessing;
  std::optional<Spectrogram> spectrogram;
  std::optional<Detection> detection;
  std::optional<size_t> classes;  // of a detector or segmenter, where that is said
  size_t threads;
};

// What a program asks for; empty and 0 take what is usual.
struct Wanted {
  std::string release;
  std::string name;
  std::string runtime;
  std::string variant;
  std::string opt_level;
  size_t batch;
};

// Finds a model in a release and reads all that stands there of it.
//
// Throws Failure: RELEASE_ERROR where something can't be read, NOT_DEPLOYED where it isn't there.
Model find_model(const Wanted& wanted);

// The folder that this library is in; empty where it can't be found out.
const std::string& library_folder();

}  // namespace edgewright
