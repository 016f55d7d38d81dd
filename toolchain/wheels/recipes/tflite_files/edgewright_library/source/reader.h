// A JSON file of a release, whose values are taken by key and checked.
//
// Files are untrusted: what can't be used is RELEASE_ERROR, told with the file's name.
#pragma once

#include <sys/stat.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "failure.h"

namespace edgewright {

using Json = nlohmann::json;

constexpr size_t kLargestFile = 64u << 20;  // bytes of a manifest or a list of labels
constexpr size_t kLongestText = 4096;

[[noreturn]] inline void unreadable(const std::string& path, const std::string& why) {
  fail(EDGEWRIGHT_RELEASE_ERROR, path + " can't be used: " + why, "deploy again");
}

// The bytes of a file that is not too large.
inline std::string content(const std::string& path) {
  std::ifstream stream(path, std::ios::binary | std::ios::ate);
  const std::streamoff size = stream ? static_cast<std::streamoff>(stream.tellg()) : -1;
  // a folder opens, and has the largest size there is
  struct stat about;
  if (size < 0 || stat(path.c_str(), &about) != 0 || !S_ISREG(about.st_mode)) {
    unreadable(path, "it can't be read");
  }
  if (static_cast<size_t>(size) > kLargestFile) unreadable(path, "it is too large");
  std::string text(static_cast<size_t>(size), '\0');
  stream.seekg(0);
  if (!stream.read(text.data(), size)) unreadable(path, "it can't be read");
  return text;
}

// A JSON file whose values are taken by key; what has another kind is told with the file's name.
class Reader {
 public:
  explicit Reader(std::string path) : path_(std::move(path)) {
    root_ = Json::parse(content(path_), nullptr, false);
    if (!root_.is_object()) unreadable(path_, "it is no JSON object");
  }

  const Json& root() const { return root_; }

  // The value of a key; null where there is none.
  const Json& at(const Json& object, const char* key) const {
    static const Json nothing;
    if (!object.is_object()) wrong(key);
    const auto found = object.find(key);
    return found == object.end() ? nothing : *found;
  }

  const Json& list(const Json& object, const char* key) const {
    const Json& value = at(object, key);
    if (!value.is_array()) wrong(key);
    return value;
  }

  std::string text(const Json& value, const char* key) const {
    if (!value.is_string()) wrong(key);
    const auto& found = value.get_ref<const std::string&>();
    if (found.size() > kLongestText || found.find('\0') != std::string::npos) wrong(key);
    return found;
  }

  std::string text_at(const Json& object, const char* key) const {
    return text(at(object, key), key);
  }

  std::string text_or(const Json& object, const char* key, const std::string& usual) const {
    const Json& value = at(object, key);
    return value.is_null() ? usual : text(value, key);
  }

  int64_t whole(const Json& value, const char* key, int64_t lowest, int64_t highest) const {
    // one above int64's is unsigned there
    if (!value.is_number_integer() ||
        (value.is_number_unsigned() &&
         value.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))) {
      wrong(key);
    }
    const auto found = value.get<int64_t>();
    if (found < lowest || found > highest) wrong(key);
    return found;
  }

  double real(const Json& value, const char* key) const {
    if (!value.is_number() || !std::isfinite(value.get<double>())) wrong(key);
    return value.get<double>();
  }

  std::vector<double> reals(const Json& object, const char* key) const {
    std::vector<double> found;
    for (const Json& value : list(object, key)) found.push_back(real(value, key));
    return found;
  }

  std::vector<std::string> texts(const Json& object, const char* key) const {
    std::vector<std::string> found;
    for (const Json& value : list(object, key)) found.push_back(text(value, key));
    return found;
  }

  // The path of a file below `folder`, which leads nowhere else.
  std::string below(const std::string& folder, const Json& object, const char* key) const {
    const std::string relative = text_at(object, key);
    size_t begin = 0;
    while (begin <= relative.size()) {
      const size_t end = std::min(relative.find('/', begin), relative.size());
      const std::string part = relative.substr(begin, end - begin);
      if (part.empty() || part == "." || part == "..") wrong(key);
      begin = end + 1;
    }
    return folder + "/" + relative;
  }

  [[noreturn]] void wrong(const std::string& key) const {
    unreadable(path_, "what it says of " + key + " is no such thing");
  }

 private:
  std::string path_;
  Json root_;
};

}  // namespace edgewright
