// Boxes of a detector's outputs: what a head's numbers mean, the best of those that overlap.
//
// The same numbers as edgewright_device's (box_decoding.py): each operation has numpy's type and
// order.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "outputs.h"
#include "release.h"

namespace edgewright {

struct Box {
  std::array<double, 4> corners;  // left, top, right, bottom
  double score;
  size_t number;  // of its class
};

// The boxes of one picture, the surest first, in pixels of the input.
//
// outputs: in the network's own order.
// classes: how many it tells apart, without the background.
// Throws Failure with MEANING_ERROR where they are not that head's.
std::vector<Box> decoded(const std::vector<Output>& outputs, const Detection& how, size_t classes,
                         size_t width, size_t height);

}  // namespace edgewright
