// A segmenter's output as the class of each pixel of the picture.
//
// The same classes as edgewright_device's (class_map.py).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "outputs.h"
#include "pictures.h"

namespace edgewright {

// The classes of a picture's own pixels, row by row; 255 where the network saw none.
//
// outputs: scores (H, W, classes) or (classes, H, W), or classes as whole numbers (H, W).
// classes: how many there are, where that is known; channels last are taken otherwise.
// size: of the network's input; `place` is where the picture lies in it.
// Throws Failure with MEANING_ERROR where it is no segmenter's output.
std::vector<uint8_t> class_map(const std::vector<Output>& outputs, std::optional<size_t> classes,
                               const Fitting& size, const Frame& place, size_t picture_width,
                               size_t picture_height);

}  // namespace edgewright
