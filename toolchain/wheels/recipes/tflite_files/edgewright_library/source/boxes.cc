#include "boxes.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "failure.h"

namespace edgewright {
namespace {

constexpr size_t kEdges = 4;

// A head's boxes as it gives them.
struct Claims {
  std::vector<std::array<double, kEdges>> corners;
  std::vector<double> scores;  // (boxes, classes)
};

// One output, (boxes, length) or (length, boxes).
Claims of_yolo(const std::vector<Output>& outputs, bool objectness, size_t classes) {
  const size_t first = kEdges + (objectness ? 1 : 0);
  const size_t length = first + classes;
  const std::vector<size_t> shape =
      outputs.size() == 1 ? std::vector<size_t>(outputs[0].shape.begin(), outputs[0].shape.end())
                          : std::vector<size_t>();
  if (shape.size() != 2 || (shape[0] != length && shape[1] != length)) {
    fail(EDGEWRIGHT_MEANING_ERROR,
         "the outputs are not a YOLO head's: " + listed(outputs) + "; one of (" +
             std::to_string(length) + ", boxes) or (boxes, " + std::to_string(length) +
             ") is expected",
         "say in [detection] of the model's TOML whether it has objectness, and in its list of "
         "labels how many classes");
  }
  const bool by_rows = shape[1] == length;
  const size_t boxes = by_rows ? shape[0] : shape[1];
  const auto at = [&](size_t box, size_t column) {
    return outputs[0].numbers[by_rows ? box * length + column : column * boxes + box];
  };
  Claims found{std::vector<std::array<double, kEdges>>(boxes), {}};
  found.scores.reserve(boxes * classes);
  for (size_t box = 0; box < boxes; ++box) {
    for (size_t edge = 0; edge < 2; ++edge) {
      const double half = at(box, edge + 2) / 2;
      found.corners[box][edge] = at(box, edge) - half;
      found.corners[box][edge + 2] = at(box, edge) + half;
    }
    for (size_t number = 0; number < classes; ++number) {
      const double score = at(box, first + number);
      found.scores.push_back(objectness ? at(box, kEdges) * score : score);
    }
  }
  return found;
}

// Two outputs: boxes (boxes, 4) of ymin, xmin, ymax, xmax as shares, scores (boxes, classes).
Claims of_ssd(const std::vector<Output>& outputs, bool background, size_t classes, size_t width,
              size_t height) {
  const size_t first = background ? 1 : 0;
  const size_t length = first + classes;
  const Output* corners = nullptr;
  const Output* scores = nullptr;
  for (const Output& output : outputs) {
    if (output.shape.size() != 2) continue;
    const auto columns = static_cast<size_t>(output.shape[1]);
    if (columns == kEdges && corners == nullptr) {
      corners = &output;
    } else if (columns == length) {
      scores = &output;
    }
  }
  if (outputs.size() != 2 || corners == nullptr || scores == nullptr ||
      corners->shape[0] != scores->shape[0]) {
    fail(EDGEWRIGHT_MEANING_ERROR,
         "the outputs are not an SSD head's: " + listed(outputs) + "; (boxes, 4) and (boxes, " +
             std::to_string(length) + ") are expected",
         "say in [detection] of the model's TOML whether the first score is that of the "
         "background, and in its list of labels how many classes");
  }
  const auto boxes = static_cast<size_t>(corners->shape[0]);
  Claims found{std::vector<std::array<double, kEdges>>(boxes), {}};
  found.scores.reserve(boxes * classes);
  for (size_t box = 0; box < boxes; ++box) {
    const double* edges = &corners->numbers[box * kEdges];
    const auto wide = static_cast<double>(width);
    const auto tall = static_cast<double>(height);
    found.corners[box] = {edges[1] * wide, edges[0] * tall, edges[3] * wide, edges[2] * tall};
    const double* row = &scores->numbers[box * length];
    found.scores.insert(found.scores.end(), row + first, row + length);
  }
  return found;
}

double area_of(const std::array<double, kEdges>& corners) {
  return std::max(corners[2] - corners[0], 0.0) * std::max(corners[3] - corners[1], 0.0);
}

// Of two boxes of a class that overlap by more the worse goes; at most `most` stay.
std::vector<Box> suppressed(const std::vector<Box>& boxes, double overlap, size_t most) {
  std::vector<Box> kept;
  std::vector<bool> stays(boxes.size(), true);
  std::vector<double> areas;
  for (const Box& box : boxes) areas.push_back(area_of(box.corners));
  for (size_t i = 0; i < boxes.size() && kept.size() < most; ++i) {
    if (!stays[i]) continue;
    kept.push_back(boxes[i]);
    for (size_t other = i + 1; other < boxes.size(); ++other) {
      if (boxes[other].number != boxes[i].number) continue;
      const auto& a = boxes[other].corners;
      const auto& b = boxes[i].corners;
      const double both = area_of({std::max(a[0], b[0]), std::max(a[1], b[1]),
                                   std::min(a[2], b[2]), std::min(a[3], b[3])});
      const double either = areas[other] + areas[i] - both;
      if (both > overlap * either) stays[other] = false;
    }
  }
  return kept;
}

}  // namespace

std::vector<Box> decoded(const std::vector<Output>& outputs, const Detection& how, size_t classes,
                         size_t width, size_t height) {
  const Claims claims = how.head == "ssd"
                            ? of_ssd(outputs, how.background, classes, width, height)
                            : of_yolo(outputs, how.objectness, classes);
  std::vector<Box> boxes;
  for (size_t i = 0; i < claims.scores.size(); ++i) {
    const auto& corners = claims.corners[i / classes];
    // a box without finite edges is nowhere
    const bool somewhere = std::all_of(corners.begin(), corners.end(),
                                       [](double edge) { return std::isfinite(edge); });
    const double score = claims.scores[i];
    if (somewhere && std::isfinite(score) && score >= how.score) {
      boxes.push_back({corners, score, i % classes});
    }
  }
  std::stable_sort(boxes.begin(), boxes.end(),
                   [](const Box& one, const Box& other) { return one.score > other.score; });
  return suppressed(boxes, how.overlap, how.most);
}

}  // namespace edgewright
