// Outputs of one sample as real numbers, for what reads a meaning out of them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace edgewright {

struct Output {
  std::string name;
  std::vector<int64_t> shape;  // without the batch
  bool whole;                  // its type is one of whole numbers that stand for themselves
  std::vector<double> numbers;
};

// Their names and shapes, for people.
std::string listed(const std::vector<Output>& outputs);

}  // namespace edgewright
