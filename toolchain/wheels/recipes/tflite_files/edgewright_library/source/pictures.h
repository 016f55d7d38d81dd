// From a picture to a network's input: fitted, resized and scaled as the release says.
//
// The same numbers as edgewright_device's (pictures.py, framing.py) without OpenCV: each operation
// has numpy's type and order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "release.h"

namespace edgewright {

// Bytes of (height, width, channels).
struct Picture {
  size_t height;
  size_t width;
  size_t channels;
  std::vector<uint8_t> pixels;
};

// A network's images: their size, and whether channels come before rows.
struct Fitting {
  size_t height;
  size_t width;
  size_t channels;
  bool channels_first;
};

// Where a picture lies in the input, all in pixels; left and top are below 0 where it is cut.
struct Frame {
  size_t width;  // of the resized picture
  size_t height;
  int64_t left;
  int64_t top;
};

// The frame of a picture of that size.
//
// Throws Failure: INPUT_ERROR where it has another size than the network takes and nothing resizes
// it.
Frame frame(size_t picture_width, size_t picture_height, const Preprocessing& how,
            const Fitting& to);

// Nothing for an input that is no image. `shape` has the batch first.
std::optional<Fitting> fitting(const std::vector<int64_t>& shape);

// A picture as a network takes it, batch 1.
//
// Throws Failure: INPUT_ERROR for what is no such picture, or has another size and nothing resizes
// it; RELEASE_ERROR where the preprocessing is for another number of channels.
std::vector<float> prepared(const Picture& picture, const Preprocessing& how,
                            const Fitting& size);

}  // namespace edgewright
