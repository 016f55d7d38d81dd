#include "sounds.h"

#include <algorithm>
#include <cmath>

// Takuya Ooura's real transform, which TensorFlow Lite has: n numbers, a power of two from 2,
// become the real and imaginary parts of frequencies 0 to n/2 - 1; the second is frequency n/2's.
extern "C" void rdft(int n, int sign, double* numbers, int* bits, double* table);

namespace edgewright {
namespace {

constexpr double kPi = 3.14159265358979323846;
constexpr double kRate = 16000;   // samples a second
constexpr double kFloor = 1e-6;   // of the energy in a band, below which all is silence

// What a band takes of the frequencies from `first` on.
struct Band {
  size_t first;
  std::vector<double> shares;
};

double mel(double frequency) { return 2595 * std::log10(1 + frequency / 700); }

// The window's length, or the next power of two.
size_t transform_length(size_t window) {
  size_t length = 1;
  while (length < window) length *= 2;
  return length;
}

// Triangles that overlap by half, evenly spaced on the mel scale.
std::vector<Band> bands_of(const Spectrogram& how) {
  const size_t length = transform_length(how.window);
  const double step = kRate / static_cast<double>(length);
  const double lowest = mel(how.lowest);
  const double space = (mel(how.highest) - lowest) / static_cast<double>(how.bands + 1);
  const auto edge = [&](size_t number) {
    const double place = lowest + static_cast<double>(number) * space;
    return 700 * (std::pow(10, place / 2595) - 1);
  };
  std::vector<Band> bands;
  for (size_t band = 0; band < how.bands; ++band) {
    const double below = edge(band), centre = edge(band + 1), above = edge(band + 2);
    Band found{static_cast<size_t>(std::ceil(std::max(below, 0.0) / step)), {}};
    for (size_t at = found.first; at <= length / 2; ++at) {
      const double frequency = static_cast<double>(at) * step;
      if (frequency > above) break;
      const double rising = (frequency - below) / (centre - below);
      const double falling = (above - frequency) / (above - centre);
      found.shares.push_back(std::max(0.0, std::min(rising, falling)));
    }
    bands.push_back(std::move(found));
  }
  return bands;
}

// The energy at each frequency of numbers whose transform has their own length.
std::vector<double> energies(std::vector<double> numbers, double window) {
  if (numbers.size() < 2) return {numbers[0] * numbers[0] / window};
  const size_t half = numbers.size() / 2;
  std::vector<int> bits(3 + static_cast<size_t>(std::sqrt(static_cast<double>(half))));
  std::vector<double> table(half);
  rdft(static_cast<int>(numbers.size()), 1, numbers.data(), bits.data(), table.data());
  std::vector<double> found{numbers[0] * numbers[0] / window};
  for (size_t at = 1; at < half; ++at) {
    const double real = numbers[2 * at], imaginary = numbers[2 * at + 1];
    found.push_back((real * real + imaginary * imaginary) / window);
  }
  found.push_back(numbers[1] * numbers[1] / window);
  return found;
}

// Of Hann, (window,).
std::vector<double> hann(size_t window) {
  std::vector<double> found(window, 1);
  for (size_t at = 0; window > 1 && at < window; ++at) {
    const double place = static_cast<double>(at) / static_cast<double>(window - 1);
    found[at] = 0.5 - 0.5 * std::cos(2 * kPi * place);
  }
  return found;
}

// The cosine transform of type II, orthonormal: its first coefficients.
std::vector<double> transformed(const std::vector<double>& bands, size_t coefficients) {
  const auto count = static_cast<double>(bands.size());
  std::vector<double> found;
  for (size_t number = 0; number < coefficients; ++number) {
    double sum = 0;
    for (size_t band = 0; band < bands.size(); ++band) {
      const double angle = (static_cast<double>(band) + 0.5) * static_cast<double>(number);
      sum += bands[band] * std::cos(kPi * angle / count);
    }
    found.push_back(sum * std::sqrt((number == 0 ? 1 : 2) / count));
  }
  return found;
}

}  // namespace

std::vector<float> prepared(const std::vector<float>& samples, const Spectrogram& how,
                            size_t count) {
  const std::vector<Band> bands = bands_of(how);
  const std::vector<double> window = hann(how.window);
  std::vector<float> input;
  input.reserve(count);
  for (size_t begin = 0; input.size() < count; begin += how.hop) {
    std::vector<double> cut(transform_length(how.window));
    for (size_t at = 0; at < how.window && begin + at < samples.size(); ++at) {
      cut[at] = static_cast<double>(samples[begin + at]) * window[at];
    }
    const std::vector<double> energy = energies(std::move(cut), static_cast<double>(how.window));
    std::vector<double> row;
    for (const Band& band : bands) {
      double sum = 0;
      for (size_t at = 0; at < band.shares.size(); ++at) {
        sum += energy[band.first + at] * band.shares[at];
      }
      row.push_back(std::log(sum + kFloor));
    }
    if (how.coefficients) row = transformed(row, *how.coefficients);
    input.insert(input.end(), row.begin(), row.end());
  }
  return input;
}

}  // namespace edgewright
