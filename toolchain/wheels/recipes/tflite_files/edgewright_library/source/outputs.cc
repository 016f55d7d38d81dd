#include "outputs.h"

#include <cstddef>

namespace edgewright {

std::string listed(const std::vector<Output>& outputs) {
  std::string text;
  for (const Output& output : outputs) {
    text += (text.empty() ? "" : ", ") + output.name + " (";
    for (size_t i = 0; i < output.shape.size(); ++i) {
      text += (i == 0 ? "" : ", ") + std::to_string(output.shape[i]);
    }
    text += ")";
  }
  return text;
}

}  // namespace edgewright
