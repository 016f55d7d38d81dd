#include "release.h"

#include <dlfcn.h>
#include <sys/stat.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <memory>
#include <set>

#include "failure.h"
#include "numbers.h"
#include "reader.h"

namespace edgewright {
namespace {

// Of a tensor: of any type their bytes can be counted.
constexpr size_t kMostNumbers = size_t{1} << (sizeof(size_t) > 4 ? 31 : 27);
constexpr size_t kHighestRank = 32;
constexpr int64_t kMostThreads = 1024;
constexpr int64_t kHighestLevel = 9;
constexpr int64_t kLongestFrame = 1 << 16;  // samples
// As toolchain.models.preprocessing has what model.json leaves out.
constexpr double kCrop = 0.875;
constexpr int64_t kPad = 114;
// As toolchain.models.detection has it.
constexpr double kScore = 0.001;
constexpr double kOverlap = 0.7;
constexpr int64_t kMostBoxes = 300;

std::string joined(const std::set<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text.empty() ? "none" : text;
}

std::string real_path(const std::string& path) {
  const std::unique_ptr<char, decltype(&std::free)> found(realpath(path.c_str(), nullptr),
                                                          &std::free);
  return found ? found.get() : "";
}

std::string above(const std::string& path) {
  const size_t end = path.find_last_of('/');
  return path.substr(0, end == std::string::npos ? 0 : end);
}

// Something of the library's own: a function's address may be one of the program that calls it.
const char kHere = 0;

std::string find_library_folder() {
  Dl_info about;
  if (dladdr(&kHere, &about) == 0) return "";
  return above(real_path(about.dli_fname));
}

// Found as the library is loaded: its path may lead through a link that the next deployment moves.
// It is there to the process's end: a thread may load a network while others end.
const std::string& kLibraryFolder = *new std::string(find_library_folder());

// The folder of the release that this library is in: in it, or below it.
std::string own_release() {
  const std::string& own = kLibraryFolder;
  std::string folder = own;
  for (int level = 0; level < 3 && !folder.empty(); ++level, folder = above(folder)) {
    struct stat found;
    if (stat((folder + "/manifest.json").c_str(), &found) == 0) return folder;
  }
  fail(EDGEWRIGHT_NOT_DEPLOYED, (own.empty() ? "the library" : own) + " is in no release",
       "name one in edgewright_options.release, such as /home/pi/edgewright/current");
}

// The numbers in a tensor of a shape; checked to be few enough.
size_t count_of(const Reader& reader, const std::vector<int64_t>& shape) {
  size_t count = 1;
  for (const int64_t length : shape) {
    const auto size = static_cast<size_t>(length);
    if (size != 0 && count > kMostNumbers / size) reader.wrong("shape");
    count *= size;
  }
  return count;
}

Tensor tensor(const Reader& reader, const Json& said) {
  Tensor found;
  found.name = reader.text_at(said, "name");
  const auto type = type_of(reader.text_or(said, "dtype", "float32"));
  if (!type) reader.wrong("dtype");
  found.type = *type;
  for (const Json& length : reader.list(said, "shape")) {
    found.shape.push_back(reader.whole(length, "shape", 0, kMostNumbers));
    if (found.shape.size() > kHighestRank) reader.wrong("shape");
  }
  found.count = count_of(reader, found.shape);
  const Json& rounded = reader.at(said, "quantization");
  if (!rounded.is_null()) {
    const Json& zero = reader.at(rounded, "zero");
    const double scale = reader.real(reader.at(rounded, "scale"), "scale");
    if (scale == 0 || is_real(found.type)) reader.wrong("quantization");
    constexpr int64_t kHighest = std::numeric_limits<int32_t>::max();
    found.quantization = Quantization{
        scale, zero.is_null() ? 0 : reader.whole(zero, "zero", -kHighest - 1, kHighest)};
  }
  return found;
}

void tensors(const Reader& reader, const char* key, std::map<std::string, Tensor>& by_name,
             std::vector<std::string>& order) {
  for (const Json& said : reader.list(reader.root(), key)) {
    Tensor found = tensor(reader, said);
    order.push_back(found.name);
    const std::string name = found.name;
    if (!by_name.emplace(name, std::move(found)).second) reader.wrong(key);
  }
  if (order.empty()) reader.wrong(key);
}

Preprocessing preprocessing(const Reader& reader, const Json& said) {
  Preprocessing how;
  how.channels = reader.text_at(said, "channels");
  how.resize = reader.text_at(said, "resize");
  how.fit = reader.text_or(said, "fit", "crop");
  how.scale = reader.real(reader.at(said, "scale"), "scale");
  how.mean = reader.reals(said, "mean");
  how.std = reader.reals(said, "std");
  const Json& crop = reader.at(said, "crop");
  how.crop = crop.is_null() ? kCrop : reader.real(crop, "crop");
  const Json& pad = reader.at(said, "pad");
  how.pad = static_cast<uint8_t>(pad.is_null() ? kPad : reader.whole(pad, "pad", 0, 255));
  if (!(how.crop > 0 && how.crop <= 1)) reader.wrong("crop");
  if (how.mean.empty() || how.std.empty()) reader.wrong("mean");
  if (std::find(how.std.begin(), how.std.end(), 0.0) != how.std.end()) reader.wrong("std");
  return how;
}

// Whether a switch is on; off where nothing is said.
bool is_on(const Reader& reader, const Json& object, const char* key) {
  const Json& value = reader.at(object, key);
  if (!value.is_null() && !value.is_boolean()) reader.wrong(key);
  return value.is_boolean() && value.get<bool>();
}

Detection detection(const Reader& reader, const Json& said) {
  Detection how;
  how.head = reader.text_at(said, "head");
  if (how.head != "yolo" && how.head != "ssd") reader.wrong("head");
  how.background = is_on(reader, said, "background");
  how.objectness = is_on(reader, said, "objectness");
  const Json& score = reader.at(said, "score");
  how.score = score.is_null() ? kScore : reader.real(score, "score");
  const Json& overlap = reader.at(said, "overlap");
  how.overlap = overlap.is_null() ? kOverlap : reader.real(overlap, "overlap");
  const Json& most = reader.at(said, "most");
  how.most = static_cast<size_t>(
      most.is_null() ? kMostBoxes : reader.whole(most, "most", 1, kMostNumbers));
  return how;
}

Spectrogram spectrogram(const Reader& reader, const Json& said) {
  const auto size = [&](const char* key) {
    return static_cast<size_t>(reader.whole(reader.at(said, key), key, 1, kLongestFrame));
  };
  Spectrogram how{size("window"), size("hop"), size("bands"), {}, 0, 0};
  if (!reader.at(said, "coefficients").is_null()) how.coefficients = size("coefficients");
  how.lowest = reader.real(reader.at(said, "lowest"), "lowest");
  how.highest = reader.real(reader.at(said, "highest"), "highest");
  if (!(how.lowest >= 0 && how.lowest < how.highest)) reader.wrong("highest");
  return how;
}

// The lines of a text, ended as Python's str.splitlines has it.
std::vector<std::string> lines(const std::string& text) {
  static const std::string ends[] = {"\r\n", "\n",   "\r",       "\v",          "\f",
                                     "\x1c", "\x1d", "\x1e",     "\xc2\x85",    "\xe2\x80\xa8",
                                     "\xe2\x80\xa9"};
  std::vector<std::string> found;
  std::string line;
  size_t at = 0;
  while (at < text.size()) {
    const auto* const end = std::find_if(std::begin(ends), std::end(ends), [&](const auto& one) {
      return text.compare(at, one.size(), one) == 0;
    });
    if (end == std::end(ends)) {
      line += text[at++];
      continue;
    }
    at += end->size();
    found.push_back(std::move(line));
    line.clear();
  }
  if (!line.empty()) found.push_back(std::move(line));
  return found;
}

// What model.json says.
void read_card(const std::string& card, const std::string& folder, Model& model) {
  const Reader reader(card);
  tensors(reader, "inputs", model.tensors_in, model.order_in);
  tensors(reader, "outputs", model.tensors_out, model.order_out);
  const Json& state = reader.at(reader.root(), "state");
  if (!state.is_null()) {
    for (const Json& feed : reader.list(state, "feeds")) {
      model.feeds.emplace_back(reader.text_at(feed, "input"), reader.text_at(feed, "output"));
      const auto& [input, output] = model.feeds.back();
      const auto to = model.tensors_in.find(input);
      const auto from = model.tensors_out.find(output);
      if (to == model.tensors_in.end() || from == model.tensors_out.end() ||
          to->second.count != from->second.count) {
        reader.wrong("state");
      }
    }
  }
  const Json& labels = reader.at(reader.root(), "labels");
  if (!labels.is_null()) {
    model.labels = lines(content(reader.below(folder, labels, "file")));
    for (const std::string& label : model.labels) {
      if (label.find('\0') != std::string::npos) reader.wrong("labels");
    }
  }
  model.threads = 1;
  const Json& metadata = reader.at(reader.root(), "metadata");
  if (metadata.is_null()) return;
  model.task = reader.text_or(metadata, "task", "");
  const Json& pictures = reader.at(metadata, "preprocessing");
  if (!pictures.is_null()) model.preprocessing = preprocessing(reader, pictures);
  const Json& sounds = reader.at(metadata, "spectrogram");
  if (!sounds.is_null()) model.spectrogram = spectrogram(reader, sounds);
  const Json& boxes = reader.at(metadata, "detection");
  if (!boxes.is_null()) model.detection = detection(reader, boxes);
  const Json& classes = reader.at(metadata, "classes");
  if (!classes.is_null()) {
    model.classes = static_cast<size_t>(reader.whole(classes, "classes", 1, kMostNumbers));
  }
  const Json& threads = reader.at(metadata, "threads");
  if (!threads.is_null()) {
    model.threads = static_cast<size_t>(reader.whole(threads, "threads", 1, kMostThreads));
  }
}

// The entry of a model at the batch size that is asked for, or its smallest.
const Json& entry_of(const Reader& reader, const Wanted& wanted) {
  std::set<std::string> names;
  std::map<int64_t, const Json*> sizes;
  for (const Json& said : reader.list(reader.root(), "models")) {
    const std::string name = reader.text_at(said, "model");
    names.insert(name);
    if (name != wanted.name) continue;
    sizes[reader.whole(reader.at(said, "batch"), "batch", 1, kMostNumbers)] = &said;
  }
  if (sizes.empty()) {
    fail(EDGEWRIGHT_NOT_DEPLOYED, "there is no model " + wanted.name + " in this release",
         "it holds " + joined(names));
  }
  if (wanted.batch == 0) return *sizes.begin()->second;
  for (const auto& [size, said] : sizes) {
    if (static_cast<size_t>(size) == wanted.batch) return *said;
  }
  std::set<std::string> held;
  for (const auto& [size, said] : sizes) held.insert(std::to_string(size));
  fail(EDGEWRIGHT_NOT_DEPLOYED,
       wanted.name + " is not in this release at batch " + std::to_string(wanted.batch),
       "it is at batch " + joined(held));
}

// Refuses a file that is shorter than the release says: where it was cut, reading its pages would
// end the program.
void check_whole(const Reader& reader, const std::string& relative, const std::string& path) {
  const Json& files = reader.at(reader.root(), "files");
  struct stat about;
  if (stat(path.c_str(), &about) != 0 || !S_ISREG(about.st_mode)) {
    unreadable(path, "it can't be read");
  }
  if (!files.is_array()) return;
  for (const Json& said : files) {
    if (reader.text_at(said, "path") != relative) continue;
    constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
    if (about.st_size < reader.whole(reader.at(said, "size"), "size", 0, kMost)) {
      unreadable(path, "it was cut");
    }
  }
}

// Whether names are those of tensors, each once.
bool same_names(const std::vector<std::string>& names, const std::map<std::string, Tensor>& of) {
  const std::set<std::string> once(names.begin(), names.end());
  return once.size() == names.size() && names.size() == of.size() &&
         std::all_of(once.begin(), once.end(), [&](const auto& name) { return of.count(name); });
}

}  // namespace

const std::string& library_folder() { return kLibraryFolder; }

Model find_model(const Wanted& wanted) {
  const std::string folder =
      wanted.release.empty() ? own_release() : real_path(wanted.release);
  if (folder.empty()) {
    fail(EDGEWRIGHT_NOT_DEPLOYED, "there is no release " + wanted.release,
         "name its folder, such as /home/pi/edgewright/current");
  }
  const Reader reader(folder + "/manifest.json");
  const Json& entry = entry_of(reader, wanted);
  Model model;
  model.folder = folder;
  model.release = reader.text_or(reader.root(), "release", "");
  model.name = wanted.name;
  model.batch = static_cast<size_t>(reader.whole(reader.at(entry, "batch"), "batch", 1,
                                                 kMostNumbers));
  read_card(reader.below(folder, entry, "card"), reader.below(folder, entry, "folder"), model);
  std::set<std::string> there;
  for (const Json& form : reader.list(entry, "executables")) {
    const std::string runtime = reader.text_at(form, "runtime");
    const std::string variant = reader.text_at(form, "variant");
    const Json& said = reader.at(form, "opt_level");
    const std::string level =
        said.is_null() ? ""
                       : "O" + std::to_string(reader.whole(said, "opt_level", 0, kHighestLevel));
    there.insert(runtime + " " + variant + (level.empty() ? "" : " " + level));
    if (runtime != kTflite && runtime != kTvm) continue;
    if (!wanted.runtime.empty() && runtime != wanted.runtime) continue;
    if (!wanted.variant.empty() && variant != wanted.variant) continue;
    if (!wanted.opt_level.empty() && level != wanted.opt_level) continue;
    model.runtime = runtime;
    model.variant = variant;
    model.opt_level = level;
    model.file = reader.below(folder, form, "file");
    model.inputs = reader.texts(form, "inputs");
    model.outputs = reader.texts(form, "outputs");
    check_whole(reader, reader.text_at(form, "file"), model.file);
    if (!same_names(model.inputs, model.tensors_in)) reader.wrong("inputs");
    if (!same_names(model.outputs, model.tensors_out)) reader.wrong("outputs");
    return model;
  }
  std::string as = wanted.runtime.empty() ? "tflite or tvm" : wanted.runtime;
  for (const std::string& asked : {wanted.variant, wanted.opt_level}) {
    if (!asked.empty()) as += " " + asked;
  }
  const bool runs =
      wanted.runtime.empty() || wanted.runtime == kTflite || wanted.runtime == kTvm;
  fail(EDGEWRIGHT_NOT_DEPLOYED,
       wanted.name + (runs ? " is not in this release as " + as
                           : " can't be run as " + as + " by this library, which has tflite and tvm"),
       "it is there as " + joined(there));
}

}  // namespace edgewright
