// Numbers in the types of tensors: sizes, names, and what one becomes in another.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "edgewright.h"
#include "release.h"

namespace edgewright {

// The bytes of a number; 0 for what is no type.
size_t size_of(edgewright_type type);

// As manifests name it, such as float32.
const char* name_of(edgewright_type type);

// The type of such a name; nothing where there is none.
std::optional<edgewright_type> type_of(const std::string& name);

// Whether a type goes into another without loss of kind: bool, then unsigned, signed, real.
bool goes_into(edgewright_type from, edgewright_type to);

bool is_real(edgewright_type type);

// Turns `count` numbers into another type as numpy's astype does it, and where a real one is beyond
// a whole type, into its nearest number. Returns whether each whole result is what was given.
bool convert(const void* from, edgewright_type from_type, void* to, edgewright_type to_type,
             size_t count);

// Rounds real numbers by a scale. Returns whether all of them are numbers.
bool quantize(const void* from, edgewright_type from_type, void* to, edgewright_type to_type,
              const Quantization& how, size_t count);

// The real numbers of an output as float32.
void to_real(const void* from, edgewright_type from_type,
             const std::optional<Quantization>& how, float* to, size_t count);

}  // namespace edgewright
