// What goes wrong in the library, as an exception that stays inside it.
#pragma once

#include <string>
#include <utility>

#include "edgewright.h"

namespace edgewright {

struct Failure {
  edgewright_status status;
  std::string message;
};

// What happened, and what to do about it, as edgewright_error tells them.
[[noreturn]] inline void fail(edgewright_status status, std::string brief,
                              const std::string& resolution = "") {
  if (!resolution.empty()) brief += "; " + resolution;
  throw Failure{status, std::move(brief)};
}

}  // namespace edgewright
