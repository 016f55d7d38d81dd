#include "numbers.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include <fp16.h>

namespace edgewright {
namespace {

// IEEE 754's half as its bits; values go through float.
struct Half {
  uint16_t bits;
};

struct Kind {
  const char* name;
  edgewright_type type;
  size_t size;
  int order;  // bool, unsigned, signed, real
};

constexpr Kind kKinds[] = {
    {"bool", EDGEWRIGHT_BOOL, 1, 0},       {"float16", EDGEWRIGHT_FLOAT16, 2, 3},
    {"float32", EDGEWRIGHT_FLOAT32, 4, 3}, {"float64", EDGEWRIGHT_FLOAT64, 8, 3},
    {"int8", EDGEWRIGHT_INT8, 1, 2},       {"int16", EDGEWRIGHT_INT16, 2, 2},
    {"int32", EDGEWRIGHT_INT32, 4, 2},     {"int64", EDGEWRIGHT_INT64, 8, 2},
    {"uint8", EDGEWRIGHT_UINT8, 1, 1},     {"uint16", EDGEWRIGHT_UINT16, 2, 1},
    {"uint32", EDGEWRIGHT_UINT32, 4, 1},   {"uint64", EDGEWRIGHT_UINT64, 8, 1},
};

const Kind* kind_of(edgewright_type type) {
  for (const Kind& kind : kKinds) {
    if (kind.type == type) return &kind;
  }
  return nullptr;
}

// Calls `function` with a value of the type's own kind.
template <typename Function>
bool by_type(edgewright_type type, const Function& function) {
  switch (type) {
    case EDGEWRIGHT_BOOL: return function(bool{});
    case EDGEWRIGHT_FLOAT16: return function(Half{});
    case EDGEWRIGHT_FLOAT32: return function(float{});
    case EDGEWRIGHT_FLOAT64: return function(double{});
    case EDGEWRIGHT_INT8: return function(int8_t{});
    case EDGEWRIGHT_INT16: return function(int16_t{});
    case EDGEWRIGHT_INT32: return function(int32_t{});
    case EDGEWRIGHT_INT64: return function(int64_t{});
    case EDGEWRIGHT_UINT8: return function(uint8_t{});
    case EDGEWRIGHT_UINT16: return function(uint16_t{});
    case EDGEWRIGHT_UINT32: return function(uint32_t{});
    case EDGEWRIGHT_UINT64: return function(uint64_t{});
  }
  return false;
}

// A number at any address, a half as float and a bool as 0 or 1.
template <typename T>
auto at(const void* numbers, size_t index) {
  if constexpr (std::is_same_v<T, bool>) {
    return static_cast<uint8_t>(static_cast<const uint8_t*>(numbers)[index] != 0);
  } else {
    T value;
    std::memcpy(&value, static_cast<const char*>(numbers) + index * sizeof(T), sizeof(T));
    if constexpr (std::is_same_v<T, Half>) {
      return fp16_ieee_to_fp32_value(value.bits);
    } else {
      return value;
    }
  }
}

template <typename T>
void put(void* numbers, size_t index, T value) {
  std::memcpy(static_cast<char*>(numbers) + index * sizeof(T), &value, sizeof(T));
}

// A real number in a whole type: its whole part, held within the type.
template <typename To, typename From>
To held(From value) {
  if (std::isnan(value)) return 0;
  // the highest of 64 bits is no float: what is not below the power of two above it is beyond
  constexpr int kDigits = std::numeric_limits<To>::digits;
  if (value >= std::ldexp(From{1}, kDigits)) return std::numeric_limits<To>::max();
  if (value < static_cast<From>(std::numeric_limits<To>::min())) {
    return std::numeric_limits<To>::min();
  }
  return static_cast<To>(value);
}

template <typename To, typename From>
bool put_converted(void* numbers, size_t index, From value) {
  if constexpr (std::is_same_v<To, bool>) {
    put<uint8_t>(numbers, index, value != 0 ? 1 : 0);
    return true;
  } else if constexpr (std::is_same_v<To, Half>) {
    put<uint16_t>(numbers, index, fp16_ieee_from_fp32_value(static_cast<float>(value)));
    return true;
  } else if constexpr (std::is_floating_point_v<To>) {
    put<To>(numbers, index, static_cast<To>(value));
    return true;
  } else if constexpr (std::is_floating_point_v<From>) {
    const To whole = held<To>(value);
    put<To>(numbers, index, whole);
    return static_cast<From>(whole) == value;
  } else {
    const To whole = static_cast<To>(value);
    put<To>(numbers, index, whole);
    return static_cast<From>(whole) == value && (whole < To{}) == (value < From{});
  }
}

// numpy rounds a real number of the array's own precision.
template <typename To, typename From>
bool put_rounded(void* numbers, size_t index, From value, const Quantization& how) {
  const From whole = std::nearbyint(value / static_cast<From>(how.scale)) +
                     static_cast<From>(how.zero);
  put<To>(numbers, index, held<To>(whole));
  return !std::isnan(whole);
}

}  // namespace

size_t size_of(edgewright_type type) {
  const Kind* kind = kind_of(type);
  return kind == nullptr ? 0 : kind->size;
}

const char* name_of(edgewright_type type) {
  const Kind* kind = kind_of(type);
  return kind == nullptr ? "no type" : kind->name;
}

std::optional<edgewright_type> type_of(const std::string& name) {
  for (const Kind& kind : kKinds) {
    if (name == kind.name) return kind.type;
  }
  return std::nullopt;
}

bool goes_into(edgewright_type from, edgewright_type to) {
  return kind_of(from)->order <= kind_of(to)->order;
}

bool is_real(edgewright_type type) { return kind_of(type)->order == 3; }

bool convert(const void* from, edgewright_type from_type, void* to, edgewright_type to_type,
             size_t count) {
  return by_type(from_type, [&](auto given) {
    return by_type(to_type, [&](auto wanted) {
      bool exact = true;
      for (size_t i = 0; i < count; ++i) {
        exact &= put_converted<decltype(wanted)>(to, i, at<decltype(given)>(from, i));
      }
      return exact;
    });
  });
}

bool quantize(const void* from, edgewright_type from_type, void* to, edgewright_type to_type,
              const Quantization& how, size_t count) {
  return by_type(from_type, [&](auto given) {
    return by_type(to_type, [&](auto wanted) {
      using From = decltype(at<decltype(given)>(from, 0));
      using To = decltype(wanted);
      bool numbers = true;
      if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To> &&
                    !std::is_same_v<To, bool>) {
        for (size_t i = 0; i < count; ++i) {
          numbers &= put_rounded<To>(to, i, at<decltype(given)>(from, i), how);
        }
      }
      return numbers;
    });
  });
}

void to_real(const void* from, edgewright_type from_type,
             const std::optional<Quantization>& how, float* to, size_t count) {
  convert(from, from_type, to, EDGEWRIGHT_FLOAT32, count);
  if (!how) return;
  const auto zero = static_cast<float>(how->zero);
  const auto scale = static_cast<float>(how->scale);
  for (size_t i = 0; i < count; ++i) to[i] = (to[i] - zero) * scale;
}

}  // namespace edgewright
