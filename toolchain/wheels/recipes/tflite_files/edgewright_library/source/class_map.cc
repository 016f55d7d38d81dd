#include "class_map.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "failure.h"

namespace edgewright {
namespace {

constexpr uint8_t kUnseen = 255;

// The class of each pixel of an output.
struct Map {
  size_t height;
  size_t width;
  std::vector<int64_t> classes;
};

// As numpy.argmax: the first of the highest, and what is no number above all.
size_t highest(const double* scores, size_t count, size_t step) {
  size_t best = 0;
  for (size_t i = 0; i < count && !std::isnan(scores[best * step]); ++i) {
    const double score = scores[i * step];
    if (score > scores[best * step] || std::isnan(score)) best = i;
  }
  return best;
}

Map map_of(const std::vector<Output>& outputs, std::optional<size_t> classes) {
  if (outputs.size() == 1 && !outputs[0].numbers.empty()) {
    const Output& output = outputs[0];
    const std::vector<size_t> shape(output.shape.begin(), output.shape.end());
    if (output.whole && classes) {
      std::vector<size_t> sides;
      std::copy_if(shape.begin(), shape.end(), std::back_inserter(sides),
                   [](size_t length) { return length != 1; });
      if (sides.size() == 2) {
        // a byte is given of each
        Map found{sides[0], sides[1], {}};
        for (const double number : output.numbers) {
          found.classes.push_back(static_cast<int64_t>(std::fmod(number, 256)));
        }
        return found;
      }
    }
    if (shape.size() == 3 && !output.whole) {
      const bool last = !classes || shape[2] == *classes || shape[0] != *classes;
      const size_t pixels = last ? shape[0] * shape[1] : shape[1] * shape[2];
      Map found{shape[last ? 0 : 1], shape[last ? 1 : 2], {}};
      for (size_t pixel = 0; pixel < pixels; ++pixel) {
        const double* scores = &output.numbers[last ? pixel * shape[2] : pixel];
        const size_t best = highest(scores, shape[last ? 2 : 0], last ? 1 : pixels);
        found.classes.push_back(static_cast<int64_t>(best));
      }
      return found;
    }
  }
  fail(EDGEWRIGHT_MEANING_ERROR, "the outputs are not a segmenter's: " + listed(outputs),
       "take them by edgewright_get");
}

// For each place along a side of the picture the one of the map; -1 where the network saw none.
std::vector<int64_t> along(size_t picture, size_t resized, int64_t offset, size_t input,
                           size_t map) {
  const double scale = static_cast<double>(resized) / static_cast<double>(picture);
  const auto length = static_cast<double>(input);
  const auto highest = static_cast<double>(map - 1);
  std::vector<int64_t> places;
  for (size_t at = 0; at < picture; ++at) {
    const double inside = (static_cast<double>(at) + 0.5) * scale + static_cast<double>(offset);
    const double place = inside * static_cast<double>(map) / length;
    const bool seen = inside >= 0 && inside < length;
    places.push_back(seen ? static_cast<int64_t>(std::clamp(place, 0.0, highest)) : -1);
  }
  return places;
}

}  // namespace

std::vector<uint8_t> class_map(const std::vector<Output>& outputs, std::optional<size_t> classes,
                               const Fitting& size, const Frame& place, size_t picture_width,
                               size_t picture_height) {
  const Map map = map_of(outputs, classes);
  const auto rows = along(picture_height, place.height, place.top, size.height, map.height);
  const auto columns = along(picture_width, place.width, place.left, size.width, map.width);
  std::vector<uint8_t> found;
  found.reserve(rows.size() * columns.size());
  for (const int64_t row : rows) {
    for (const int64_t column : columns) {
      const bool seen = row >= 0 && column >= 0;
      const size_t at =
          seen ? static_cast<size_t>(row) * map.width + static_cast<size_t>(column) : 0;
      found.push_back(seen ? static_cast<uint8_t>(map.classes[at]) : kUnseen);
    }
  }
  return found;
}

}  // namespace edgewright
