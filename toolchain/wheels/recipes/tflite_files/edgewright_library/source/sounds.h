// From a sound to a network's input: its spectrogram, as the release says.
//
// The same numbers as edgewright_device's (spectrogram.py) up to the rounding of double sums.
#pragma once

#include <cstddef>
#include <vector>

#include "release.h"

namespace edgewright {

// The first frames of a sound, row by row.
//
// samples: between -1 and 1, 16,000 a second; one that is too short is followed by silence.
// count: of numbers in the input: frames times bands, or coefficients where there are some.
std::vector<float> prepared(const std::vector<float>& samples, const Spectrogram& how,
                            size_t count);

}  // namespace edgewright
