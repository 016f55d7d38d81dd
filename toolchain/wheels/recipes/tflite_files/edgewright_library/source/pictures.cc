#include "pictures.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "failure.h"

namespace edgewright {
namespace {

constexpr size_t kMostPixels = size_t{1} << 28;  // of a picture, and of a resized one
// The weights of the four nearest pixels that OpenCV takes (Keys, 1981).
constexpr float kCubic = -0.75f;

// Numbers as `outer` blocks of `length` rows of `inner` numbers; a resize changes `length`.
struct Shape {
  size_t outer;
  size_t length;
  size_t inner;
};

// As numpy.rint: half to even, in the rounding mode that programs begin with.
size_t rounded(double value, size_t lowest) {
  const double whole = std::nearbyint(value);
  if (!(whole < static_cast<double>(kMostPixels))) return kMostPixels;
  return std::max(whole < 1 ? size_t{0} : static_cast<size_t>(whole), lowest);
}

// The same as floor((inside - length) / 2) and -floor((length - inside) / 2).
int64_t middle(size_t inside, size_t length) {
  const auto space = static_cast<int64_t>(inside) - static_cast<int64_t>(length);
  return space / 2;
}

std::string by(size_t width, size_t height) {
  return std::to_string(width) + " x " + std::to_string(height);
}

// The weights of a place between two pixels; of the four the last makes the sum 1.
std::vector<float> weights(float part, bool cubic) {
  if (!cubic) return {1 - part, part};
  const auto near = [](float x) {
    return ((kCubic + 2) * x - (kCubic + 3)) * x * x + 1;
  };
  const float far = part + 1;
  const float first = ((kCubic * far - 5 * kCubic) * far + 8 * kCubic) * far - 4 * kCubic;
  const float second = near(part);
  const float third = near(1 - part);
  return {first, second, third, 1 - first - second - third};
}

// `shape.length` in another length, from the nearest pixels.
std::vector<float> interpolated(const std::vector<float>& image, const Shape& shape,
                                size_t length, const std::string& method) {
  std::vector<float> made(shape.outer * length * shape.inner);
  const double ratio = static_cast<double>(shape.length) / static_cast<double>(length);
  const auto last = static_cast<int64_t>(shape.length) - 1;
  const bool nearest = method != "bilinear" && method != "bicubic";
  for (size_t at = 0; at < length; ++at) {
    int64_t begin;
    std::vector<float> taps{1};
    if (nearest) {
      begin = static_cast<int64_t>(static_cast<double>(at) * ratio);
    } else {
      const double place = (static_cast<double>(at) + 0.5) * ratio - 0.5;
      const double before = std::floor(place);
      taps = weights(static_cast<float>(place - before), method == "bicubic");
      begin = static_cast<int64_t>(before) - (method == "bicubic" ? 1 : 0);
    }
    for (size_t tap = 0; tap < taps.size(); ++tap) {
      const int64_t from = std::clamp<int64_t>(begin + static_cast<int64_t>(tap), 0, last);
      for (size_t block = 0; block < shape.outer; ++block) {
        const float* row =
            &image[(block * shape.length + static_cast<size_t>(from)) * shape.inner];
        float* sum = &made[(block * length + at) * shape.inner];
        for (size_t i = 0; i < shape.inner; ++i) sum[i] += taps[tap] * row[i];
      }
    }
  }
  return made;
}

// `shape.length` in a smaller length: means over all pixels, those at the edges by share.
std::vector<double> averaged(const std::vector<double>& image, const Shape& shape,
                             size_t length) {
  std::vector<double> made(shape.outer * length * shape.inner);
  const double ratio = static_cast<double>(shape.length) / static_cast<double>(length);
  std::vector<double> total(shape.length + 1);
  for (size_t block = 0; block < shape.outer; ++block) {
    const double* rows = &image[block * shape.length * shape.inner];
    for (size_t i = 0; i < shape.inner; ++i) {
      for (size_t at = 0; at < shape.length; ++at) {
        total[at + 1] = total[at] + rows[at * shape.inner + i];
      }
      double before = 0;
      for (size_t at = 0; at <= length; ++at) {
        const double edge = std::min(static_cast<double>(at) * ratio,
                                     static_cast<double>(shape.length));
        const size_t whole = std::min(static_cast<size_t>(edge), shape.length - 1);
        const double part = edge - static_cast<double>(whole);
        const double until = total[whole] + part * rows[whole * shape.inner + i];
        if (at > 0) made[(block * length + at - 1) * shape.inner + i] = (until - before) / ratio;
        before = until;
      }
    }
  }
  return made;
}

template <typename Number>
std::vector<uint8_t> bytes_of(const std::vector<Number>& numbers) {
  std::vector<uint8_t> bytes(numbers.size());
  std::transform(numbers.begin(), numbers.end(), bytes.begin(), [](Number number) {
    return static_cast<uint8_t>(std::clamp<Number>(std::nearbyint(number), 0, 255));
  });
  return bytes;
}

// A picture in another size: the rows first, then the columns.
Picture resized(const Picture& picture, size_t width, size_t height, const std::string& method) {
  if (picture.width == width && picture.height == height) return picture;
  const Shape rows{1, picture.height, picture.width * picture.channels};
  const Shape columns{height, picture.width, picture.channels};
  Picture made{height, width, picture.channels, {}};
  if (method == "area" && height <= picture.height && width <= picture.width) {
    const std::vector<double> image(picture.pixels.begin(), picture.pixels.end());
    made.pixels = bytes_of(averaged(averaged(image, rows, height), columns, width));
  } else {
    // OpenCV's area is linear where a picture grows
    const std::string by_taps = method == "area" ? "bilinear" : method;
    const std::vector<float> image(picture.pixels.begin(), picture.pixels.end());
    made.pixels = bytes_of(
        interpolated(interpolated(image, rows, height, by_taps), columns, width, by_taps));
  }
  return made;
}

// The picture with as many channels as the network has.
Picture with_channels(const Picture& picture, size_t channels) {
  const size_t given = picture.channels;
  const bool grey = given >= 3 && channels == 1;
  if (given != channels && !grey && !(channels == 3 && (given == 1 || given == 4))) {
    fail(EDGEWRIGHT_INPUT_ERROR,
         "a picture of " + std::to_string(given) + " channels can't be used", "give RGB or grey");
  }
  if (given == channels) return picture;
  Picture made{picture.height, picture.width, channels, {}};
  made.pixels.resize(picture.height * picture.width * channels);
  for (size_t at = 0; at < picture.height * picture.width; ++at) {
    const uint8_t* pixel = &picture.pixels[at * given];
    if (grey) {
      // as Pillow does it: ITU-R 601-2 luma
      const uint32_t luma = 19595u * pixel[0] + 38470u * pixel[1] + 7471u * pixel[2] + 0x8000u;
      made.pixels[at] = static_cast<uint8_t>(luma >> 16);
    } else {
      for (size_t c = 0; c < channels; ++c) {
        made.pixels[at * channels + c] = pixel[given == 1 ? 0 : c];
      }
    }
  }
  return made;
}

double of_channel(const std::vector<double>& numbers, size_t channel) {
  return numbers.size() == 1 ? numbers[0] : numbers[channel];
}

}  // namespace

Frame frame(size_t picture_width, size_t picture_height, const Preprocessing& how,
            const Fitting& to) {
  const auto wide = static_cast<double>(picture_width);
  const auto tall = static_cast<double>(picture_height);
  const auto width = static_cast<double>(to.width);
  const auto height = static_cast<double>(to.height);
  Frame found{to.width, to.height, 0, 0};
  if (how.resize == "none") {
    if (picture_width != to.width || picture_height != to.height) {
      fail(EDGEWRIGHT_INPUT_ERROR,
           "the picture is " + by(picture_width, picture_height) +
               " pixels, and this network takes " + by(to.width, to.height),
           "give one of that size: its preprocessing resizes nothing");
    }
  } else if (how.fit == "letterbox") {
    const double scale = std::min(height / tall, width / wide);
    found.width = rounded(wide * scale, 1);
    found.height = rounded(tall * scale, 1);
  } else if (how.fit != "stretch") {
    const double scale = std::max(height / tall, width / wide) / how.crop;
    found.width = rounded(wide * scale, to.width);
    found.height = rounded(tall * scale, to.height);
  }
  if (found.width > kMostPixels / found.height) {
    fail(EDGEWRIGHT_INPUT_ERROR,
         "a picture of " + by(picture_width, picture_height) + " pixels would be resized to " +
             by(found.width, found.height),
         "give one that is less long");
  }
  found.left = middle(to.width, found.width);
  found.top = middle(to.height, found.height);
  return found;
}

std::optional<Fitting> fitting(const std::vector<int64_t>& shape) {
  const auto is_channels = [](int64_t length) { return length == 1 || length == 3; };
  if (shape.size() != 4 || std::find(shape.begin(), shape.end(), 0) != shape.end()) {
    return std::nullopt;
  }
  const std::vector<size_t> sizes(shape.begin(), shape.end());
  if (is_channels(shape[3])) return Fitting{sizes[1], sizes[2], sizes[3], false};
  if (is_channels(shape[1])) return Fitting{sizes[2], sizes[3], sizes[1], true};
  return std::nullopt;
}

std::vector<float> prepared(const Picture& picture, const Preprocessing& how,
                            const Fitting& size) {
  if (picture.width == 0 || picture.height == 0 ||
      picture.width > kMostPixels / picture.height) {
    fail(EDGEWRIGHT_INPUT_ERROR,
         "a picture of " + by(picture.width, picture.height) + " pixels can't be used",
         "give one with pixels, and at most 268 million");
  }
  for (const auto* numbers : {&how.mean, &how.std}) {
    if (numbers->size() != 1 && numbers->size() != size.channels) {
      fail(EDGEWRIGHT_RELEASE_ERROR, "mean and std in the release are not of the input's channels",
           "write them into the model's TOML file, convert and deploy again");
    }
  }
  const Picture pixels = with_channels(picture, size.channels);
  const Frame place = frame(pixels.width, pixels.height, how, size);
  const Picture small = resized(pixels, place.width, place.height, how.resize);
  std::vector<float> input(size.height * size.width * size.channels);
  for (size_t y = 0; y < size.height; ++y) {
    const int64_t row = static_cast<int64_t>(y) - place.top;
    for (size_t x = 0; x < size.width; ++x) {
      const int64_t column = static_cast<int64_t>(x) - place.left;
      const bool inside = row >= 0 && row < static_cast<int64_t>(small.height) && column >= 0 &&
                          column < static_cast<int64_t>(small.width);
      const size_t at = inside ? static_cast<size_t>(row) * small.width +
                                     static_cast<size_t>(column)
                               : 0;
      for (size_t c = 0; c < size.channels; ++c) {
        const size_t channel = how.channels == "BGR" ? size.channels - 1 - c : c;
        const double pixel = inside ? small.pixels[at * size.channels + channel] : how.pad;
        const double value =
            (pixel * how.scale - of_channel(how.mean, c)) / of_channel(how.std, c);
        input[size.channels_first ? (c * size.height + y) * size.width + x
                                  : (y * size.width + x) * size.channels + c] =
            static_cast<float>(value);
      }
    }
  }
  return input;
}

}  // namespace edgewright
