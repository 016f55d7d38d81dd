// The functions of edgewright.h: each turns what goes wrong into a status and one line.

#include <algorithm>
#include <cmath>
#include <exception>
#include <limits>
#include <memory>
#include <new>
#include <string>
#include <utility>

#include "edgewright.h"
#include "failure.h"
#include "network.h"
#include "pictures.h"
#include "release.h"

struct edgewright_network {
  edgewright::Network network;
};

namespace {

constexpr size_t kLongestError = 1000;
constexpr size_t kMostThreads = 1024;

std::string& last_error() {
  thread_local std::string text;
  return text;
}

// Names in it are a file's: one line, whatever they hold.
edgewright_status told(edgewright_status status, std::string text) noexcept {
  if (text.size() > kLongestError) text = text.substr(0, kLongestError) + "...";
  std::replace_if(
      text.begin(), text.end(),
      [](char c) { return static_cast<unsigned char>(c) < ' ' || c == '\x7f'; }, ' ');
  last_error().swap(text);
  return status;
}

template <typename Function>
edgewright_status guarded(const Function& function) noexcept {
  try {
    function();
    return EDGEWRIGHT_OK;
  } catch (const edgewright::Failure& failure) {
    return told(failure.status, failure.message);
  } catch (const std::bad_alloc&) {
    return told(EDGEWRIGHT_MEMORY_ERROR, "there is not enough memory");
  } catch (const std::exception& error) {
    return told(EDGEWRIGHT_RUNTIME_ERROR, error.what());
  } catch (...) {
    return told(EDGEWRIGHT_RUNTIME_ERROR, "an unknown exception");
  }
}

std::string text_of(const char* given) { return given == nullptr ? "" : given; }

// A network that a program passes; one that was not loaded is a mistake of its own.
template <typename Network>
Network& used(Network* network) {
  if (network == nullptr) {
    edgewright::fail(EDGEWRIGHT_INPUT_ERROR, "no network was given", "call edgewright_load first");
  }
  return *network;
}

}  // namespace

int edgewright_abi(void) { return EDGEWRIGHT_ABI; }

const char* edgewright_error(void) { return last_error().c_str(); }

edgewright_status edgewright_load_for_abi(int abi, const char* name,
                                          const edgewright_options* options,
                                          edgewright_network** network) {
  return guarded([&] {
    if (network == nullptr) edgewright::fail(EDGEWRIGHT_INPUT_ERROR, "no place for the network");
    *network = nullptr;
    if (abi != EDGEWRIGHT_ABI) {
      edgewright::fail(EDGEWRIGHT_ABI_ERROR,
                       "this program was compiled for ABI " + std::to_string(abi) +
                           " of libedgewright.so, and the release has ABI " +
                           std::to_string(EDGEWRIGHT_ABI),
                       "compile it again with edgewright.h beside the library");
    }
    if (name == nullptr) edgewright::fail(EDGEWRIGHT_INPUT_ERROR, "no name of a model was given");
    const edgewright_options wanted = options == nullptr ? edgewright_options{} : *options;
    if (wanted.threads > kMostThreads) {
      edgewright::fail(EDGEWRIGHT_INPUT_ERROR,
                       std::to_string(wanted.threads) + " threads were asked for",
                       "ask for at most " + std::to_string(kMostThreads));
    }
    edgewright::Model model = edgewright::find_model(
        {text_of(wanted.release), name, text_of(wanted.runtime), text_of(wanted.variant),
         text_of(wanted.opt_level), wanted.batch});
    // not by make_unique, which can't make an aggregate in C++17
    *network = new edgewright_network{{std::move(model), wanted.threads}};
  });
}

void edgewright_free(edgewright_network* network) { delete network; }

const edgewright_description* edgewright_describe(const edgewright_network* network) {
  return network == nullptr ? nullptr : &network->network.description();
}

edgewright_status edgewright_set(edgewright_network* network, const char* input,
                                 edgewright_type type, const void* values, size_t count) {
  return guarded([&] { used(network).network.set(input, type, values, count); });
}

edgewright_status edgewright_set_picture(edgewright_network* network, const uint8_t* pixels,
                                         size_t height, size_t width, size_t channels) {
  return guarded([&] {
    constexpr size_t kMost = std::numeric_limits<int32_t>::max();
    auto& net = used(network).network;
    if (pixels == nullptr || height == 0 || width == 0 || channels == 0 || channels > 4 ||
        width > kMost / channels || height > kMost / (width * channels)) {
      edgewright::fail(EDGEWRIGHT_INPUT_ERROR, "no picture was given",
                       "give bytes of (height, width, channels): grey, RGB or RGBA");
    }
    net.set_picture({height, width, channels, {pixels, pixels + height * width * channels}});
  });
}

edgewright_status edgewright_set_sound(edgewright_network* network, const float* samples,
                                       size_t count) {
  return guarded([&] {
    auto& net = used(network).network;
    const bool finite = samples != nullptr && std::all_of(samples, samples + count, [](float one) {
      return std::isfinite(one);
    });
    if (!finite) {
      edgewright::fail(EDGEWRIGHT_INPUT_ERROR, "no sound was given",
                       "give samples between -1 and 1, 16,000 a second");
    }
    net.set_sound({samples, samples + count});
  });
}

edgewright_status edgewright_run(edgewright_network* network) {
  return guarded([&] { used(network).network.run(); });
}

edgewright_status edgewright_get(const edgewright_network* network, const char* output,
                                 edgewright_type type, void* values, size_t count) {
  return guarded([&] { used(network).network.get(output, type, values, count); });
}

edgewright_status edgewright_classify(edgewright_network* network, edgewright_class* classes,
                                      size_t* count) {
  return guarded([&] {
    auto& net = used(network).network;
    if (classes == nullptr || count == nullptr) {
      edgewright::fail(EDGEWRIGHT_INPUT_ERROR, "no place for the classes");
    }
    *count = net.classify(classes, *count);
  });
}

edgewright_status edgewright_detect(edgewright_network* network, double score,
                                    edgewright_box* boxes, size_t* count) {
  return guarded([&] {
    auto& net = used(network).network;
    if (boxes == nullptr || count == nullptr) {
      edgewright::fail(EDGEWRIGHT_INPUT_ERROR, "no place for the boxes");
    }
    *count = net.detect(score, boxes, *count);
  });
}

edgewright_status edgewright_segment(const edgewright_network* network, uint8_t* classes,
                                     size_t count) {
  return guarded([&] { used(network).network.segment(classes, count); });
}

void edgewright_reset(edgewright_network* network) {
  if (network != nullptr) network->network.reset();
}

double edgewright_seconds(const edgewright_network* network) {
  return network == nullptr ? 0 : network->network.seconds();
}
