// What executes a network's file: one of the runtimes that this library has.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "release.h"

namespace edgewright {

// A loaded file. Inputs and outputs are numbered as the file has them; `bytes` are a tensor's
// numbers in the type that the release says. Methods throw Failure with RUNTIME_ERROR.
class Engine {
 public:
  virtual ~Engine() = default;

  // Of an inference. It may be fewer than were asked for, where the process has them set already.
  virtual size_t threads() const = 0;

  virtual void set_input(size_t index, const Tensor& tensor, const std::vector<uint8_t>& bytes) = 0;
  virtual void run() = 0;
  virtual void get_output(size_t index, const Tensor& tensor, std::vector<uint8_t>& bytes) = 0;
};

// The name, type and shape of a tensor, for people.
std::string described(const Tensor& tensor);

// A file under TensorFlow Lite, which is inside this library.
std::unique_ptr<Engine> open_tflite(const Model& model, size_t threads);

// A file under TVM's virtual machine, whose libraries are beside this one or in the release.
std::unique_ptr<Engine> open_tvm(const Model& model, size_t threads);

}  // namespace edgewright
