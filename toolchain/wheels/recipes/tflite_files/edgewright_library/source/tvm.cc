// A network's library under the virtual machine of TVM's Relax, by the C interface of TVM FFI.
//
// TVM's own libraries are opened when the first network asks for them, and stay: who runs
// TensorFlow Lite alone needs none of them.

#include <dlfcn.h>
#include <dlpack/dlpack.h>
#include <tvm/ffi/c_api.h>

#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <mutex>
#include <new>
#include <utility>

#include "engine.h"
#include "failure.h"
#include "numbers.h"

namespace edgewright {
namespace {

// As wheels have them: the second looks for the first there.
constexpr char kFfi[] = "/tvm_ffi/lib/libtvm_ffi.so";
constexpr char kRuntime[] = "/tvm/lib/libtvm_runtime.so";
// TVM's allocators align so; compiled code relies on it.
constexpr size_t kAlignment = 64;
constexpr int64_t kPooledAllocator = 2;

// The functions of TVM FFI that are called here.
struct Interface {
  decltype(&TVMFFIGetVersion) get_version;
  decltype(&TVMFFIFunctionGetGlobal) get_global;
  decltype(&TVMFFIFunctionCall) call;
  decltype(&TVMFFIObjectDecRef) release;
  decltype(&TVMFFIErrorMoveFromRaised) raised;
  decltype(&TVMFFITensorFromDLPack) tensor_from;
  size_t threads;  // of every network of the process
};

// A value that TVM gave; an object in it is released with it.
class Value {
 public:
  explicit Value(const Interface& tvm) : tvm_(&tvm) {}
  Value(Value&& other) noexcept : tvm_(other.tvm_), any_(other.any_) { other.any_ = {}; }
  Value& operator=(Value&& other) noexcept {
    std::swap(any_, other.any_);
    return *this;
  }
  ~Value() {
    if (any_.type_index >= kTVMFFIStaticObjectBegin) tvm_->release(any_.v_obj);
  }

  const TVMFFIAny& any() const { return any_; }
  TVMFFIAny* place() { return &any_; }
  bool is(int32_t type) const { return any_.type_index == type; }

 private:
  const Interface* tvm_;
  TVMFFIAny any_{};
};

TVMFFIAny integer(int64_t number) {
  TVMFFIAny any{};
  any.type_index = kTVMFFIInt;
  any.v_int64 = number;
  return any;
}

TVMFFIAny text(const char* string) {
  TVMFFIAny any{};
  any.type_index = kTVMFFIRawStr;
  any.v_c_str = string;
  return any;
}

// What the last call that failed raised.
std::string error(const Interface& tvm) {
  TVMFFIObjectHandle raised = nullptr;
  tvm.raised(&raised);
  if (raised == nullptr) return "it says not why";
  const TVMFFIErrorCell& cell = *TVMFFIErrorGetCellPtr(raised);
  std::string said(cell.kind.data, cell.kind.size);
  said += ": " + std::string(cell.message.data, cell.message.size);
  tvm.release(raised);
  return said;
}

Value call(const Interface& tvm, const Value& function, std::vector<TVMFFIAny> arguments,
           const std::string& what) {
  Value result(tvm);
  if (tvm.call(function.any().v_obj, arguments.data(), static_cast<int32_t>(arguments.size()),
               result.place()) != 0) {
    fail(EDGEWRIGHT_RUNTIME_ERROR, what + ": " + error(tvm));
  }
  return result;
}

Value global(const Interface& tvm, const char* name, const std::string& what) {
  const TVMFFIByteArray key{name, std::strlen(name)};
  TVMFFIObjectHandle function = nullptr;
  if (tvm.get_global(&key, &function) != 0) fail(EDGEWRIGHT_RUNTIME_ERROR, what + ": " + error(tvm));
  if (function == nullptr) {
    fail(EDGEWRIGHT_RUNTIME_ERROR, what + ": its runtime has no " + name, "deploy again");
  }
  Value found(tvm);
  found.place()->type_index = kTVMFFIFunction;
  found.place()->v_obj = static_cast<TVMFFIObject*>(function);
  return found;
}

template <typename Function>
void find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  if (function == nullptr) {
    fail(EDGEWRIGHT_RUNTIME_ERROR, std::string("TVM's libraries have no ") + name, "deploy again");
  }
}

// Opens TVM's libraries out of the first of these folders that has them.
Interface opened(const std::vector<std::string>& folders, size_t threads) {
  // read when a thread of the program first runs a network
  setenv("TVM_NUM_THREADS", std::to_string(threads).c_str(), 1);
  std::string said;
  for (const std::string& folder : folders) {
    void* const ffi = dlopen((folder + kFfi).c_str(), RTLD_NOW | RTLD_GLOBAL);
    if (ffi == nullptr || dlopen((folder + kRuntime).c_str(), RTLD_NOW | RTLD_GLOBAL) == nullptr) {
      if (said.empty()) said = dlerror();
      continue;
    }
    Interface tvm{};
    tvm.threads = threads;
    find(ffi, "TVMFFIGetVersion", tvm.get_version);
    find(ffi, "TVMFFIFunctionGetGlobal", tvm.get_global);
    find(ffi, "TVMFFIFunctionCall", tvm.call);
    find(ffi, "TVMFFIObjectDecRef", tvm.release);
    find(ffi, "TVMFFIErrorMoveFromRaised", tvm.raised);
    find(ffi, "TVMFFITensorFromDLPack", tvm.tensor_from);
    TVMFFIVersion version{};
    tvm.get_version(&version);
    if (version.major != TVM_FFI_VERSION_MAJOR || version.minor != TVM_FFI_VERSION_MINOR) {
      fail(EDGEWRIGHT_RUNTIME_ERROR,
           folder + kFfi + " is of another version than this library", "deploy again");
    }
    return tvm;
  }
  fail(EDGEWRIGHT_RUNTIME_ERROR, "TVM's libraries can't be opened: " + said,
       "send them with the release: invoke deploy --library");
}

const Interface& interface_of(const Model& model, size_t threads) {
  static std::mutex one_at_a_time;
  static std::unique_ptr<const Interface> tvm;
  const std::lock_guard<std::mutex> guard(one_at_a_time);
  if (!tvm) {
    tvm = std::make_unique<const Interface>(
        opened({model.folder + "/library", library_folder() + "/.."}, threads));
  }
  return *tvm;
}

// The type of TVM's numbers; 0 for one that no manifest has.
edgewright_type type_of(const DLDataType& type) {
  if (type.lanes != 1) return edgewright_type{};
  const int bits = type.bits;
  switch (type.code) {
    case kDLBool: return bits == 8 ? EDGEWRIGHT_BOOL : edgewright_type{};
    case kDLFloat:
      return bits == 16   ? EDGEWRIGHT_FLOAT16
             : bits == 32 ? EDGEWRIGHT_FLOAT32
             : bits == 64 ? EDGEWRIGHT_FLOAT64
                          : edgewright_type{};
    case kDLInt:
      return bits == 8    ? EDGEWRIGHT_INT8
             : bits == 16 ? EDGEWRIGHT_INT16
             : bits == 32 ? EDGEWRIGHT_INT32
             : bits == 64 ? EDGEWRIGHT_INT64
                          : edgewright_type{};
    case kDLUInt:
      return bits == 8    ? EDGEWRIGHT_UINT8
             : bits == 16 ? EDGEWRIGHT_UINT16
             : bits == 32 ? EDGEWRIGHT_UINT32
             : bits == 64 ? EDGEWRIGHT_UINT64
                          : edgewright_type{};
    default: return edgewright_type{};
  }
}

DLDataType type_of(edgewright_type type) {
  const auto bits = static_cast<uint8_t>(8 * size_of(type));
  if (type == EDGEWRIGHT_BOOL) return {kDLBool, bits, 1};
  if (is_real(type)) return {kDLFloat, bits, 1};
  return {static_cast<uint8_t>(type >= EDGEWRIGHT_UINT8 ? kDLUInt : kDLInt), bits, 1};
}

// The memory of an input, which ends when the last who uses it lets go of it.
struct Memory {
  DLManagedTensor managed{};
  std::vector<int64_t> shape;
  void* numbers = nullptr;

  explicit Memory(const Tensor& tensor) : shape(tensor.shape) {
    const size_t size = tensor.count * size_of(tensor.type) + kAlignment;
    numbers = std::aligned_alloc(kAlignment, (size + kAlignment - 1) / kAlignment * kAlignment);
    if (numbers == nullptr) throw std::bad_alloc();
    managed.dl_tensor.data = numbers;
    managed.dl_tensor.device = {kDLCPU, 0};
    managed.dl_tensor.ndim = static_cast<int32_t>(shape.size());
    managed.dl_tensor.dtype = type_of(tensor.type);
    managed.dl_tensor.shape = shape.data();
    managed.manager_ctx = this;
    managed.deleter = [](DLManagedTensor* self) { delete static_cast<Memory*>(self->manager_ctx); };
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  ~Memory() { std::free(numbers); }
};

// The numbers in a tensor of TVM's; none where it is not a plain one on the CPU.
size_t count_of(const DLTensor& tensor) {
  size_t count = 1;
  int64_t step = 1;
  for (int32_t i = tensor.ndim; i-- > 0;) {
    const int64_t length = tensor.shape[i];
    if (tensor.strides != nullptr && length > 1 && tensor.strides[i] != step) return 0;
    step *= length;
    count *= static_cast<size_t>(length);
  }
  return tensor.device.device_type == kDLCPU ? count : 0;
}

class TvmEngine : public Engine {
 public:
  TvmEngine(const Model& model, size_t threads)
      : tvm_(interface_of(model, threads)),
        name_(model.name),
        outputs_(model.outputs.size()),
        library_(tvm_),
        machine_(tvm_),
        main_(tvm_),
        size_(tvm_),
        item_(tvm_),
        result_(tvm_) {
    const std::string cannot = "tvm can't load " + model.file;
    size_ = global(tvm_, "ffi.ArraySize", cannot);
    item_ = global(tvm_, "ffi.ArrayGetItem", cannot);
    const Value load = global(tvm_, "ffi.ModuleLoadFromFile", cannot);
    library_ = call(tvm_, load, {text(model.file.c_str())}, cannot);
    machine_ = call(tvm_, function(library_, "vm_load_executable", cannot), {}, cannot);
    call(tvm_, function(machine_, "vm_initialization", cannot),
         {integer(kDLCPU), integer(0), integer(kPooledAllocator)}, cannot);
    const Value arity = call(tvm_, function(machine_, "get_function_arity", cannot),
                             {text("main")}, cannot);
    if (!arity.is(kTVMFFIInt) || arity.any().v_int64 != static_cast<int64_t>(model.inputs.size())) {
      fail(EDGEWRIGHT_RUNTIME_ERROR, cannot + ": it has other inputs than the release says");
    }
    main_ = function(machine_, "main", cannot);
    for (const std::string& input : model.inputs) {
      inputs_.push_back(tensor(model.tensors_in.at(input), cannot));
    }
  }

  size_t threads() const override { return tvm_.threads; }

  void set_input(size_t index, const Tensor& tensor, const std::vector<uint8_t>& bytes) override {
    DLTensor* const to = TVMFFITensorGetDLTensorPtr(inputs_[index].any().v_obj);
    if (!bytes.empty()) std::memcpy(to->data, bytes.data(), tensor.count * size_of(tensor.type));
  }

  void run() override {
    std::vector<TVMFFIAny> arguments;
    for (const Value& input : inputs_) arguments.push_back(input.any());
    result_ = Value(tvm_);
    result_ = call(tvm_, main_, std::move(arguments), "tvm failed with " + name_);
  }

  void get_output(size_t index, const Tensor& tensor, std::vector<uint8_t>& bytes) override {
    const std::string other = name_ + " gave another output than " + described(tensor);
    Value one(tvm_);
    const Value* found = &result_;
    if (result_.is(kTVMFFIArray)) {
      const Value size = call(tvm_, size_, {result_.any()}, other);
      if (size.any().v_int64 != static_cast<int64_t>(outputs_)) fail(EDGEWRIGHT_RUNTIME_ERROR, other);
      one = call(tvm_, item_, {result_.any(), integer(static_cast<int64_t>(index))}, other);
      found = &one;
    } else if (outputs_ != 1) {
      fail(EDGEWRIGHT_RUNTIME_ERROR, other);
    }
    if (!found->is(kTVMFFITensor)) fail(EDGEWRIGHT_RUNTIME_ERROR, other);
    const DLTensor& from = *TVMFFITensorGetDLTensorPtr(found->any().v_obj);
    const edgewright_type type = type_of(from.dtype);
    if (size_of(type) == 0 || count_of(from) != tensor.count) fail(EDGEWRIGHT_RUNTIME_ERROR, other);
    bytes.resize(tensor.count * size_of(tensor.type));
    convert(static_cast<const uint8_t*>(from.data) + from.byte_offset, type, bytes.data(),
            tensor.type, tensor.count);
  }

 private:
  // A function of a module, such as one of the virtual machine's.
  Value function(const Value& module, const char* name, const std::string& what) const {
    TVMFFIAny own_alone{};
    own_alone.type_index = kTVMFFIBool;
    Value found = call(tvm_, global(tvm_, "ffi.ModuleGetFunction", what),
                       {module.any(), text(name), own_alone}, what);
    if (!found.is(kTVMFFIFunction)) {
      fail(EDGEWRIGHT_RUNTIME_ERROR, what + ": it has no function " + name, "compile it again");
    }
    return found;
  }

  // A tensor of TVM's in memory of our own.
  Value tensor(const Tensor& like, const std::string& what) const {
    auto memory = std::make_unique<Memory>(like);
    Value made(tvm_);
    TVMFFIObjectHandle object = nullptr;
    if (tvm_.tensor_from(&memory->managed, kAlignment, 1, &object) != 0) {
      fail(EDGEWRIGHT_RUNTIME_ERROR, what + ": " + error(tvm_));
    }
    static_cast<void>(memory.release());  // the tensor's now
    made.place()->type_index = kTVMFFITensor;
    made.place()->v_obj = static_cast<TVMFFIObject*>(object);
    return made;
  }

  const Interface& tvm_;
  std::string name_;
  size_t outputs_;
  // destroyed in the reverse order: the machine's code is the library's
  Value library_;
  Value machine_;
  Value main_;
  Value size_;
  Value item_;
  std::vector<Value> inputs_;
  Value result_;
};

}  // namespace

std::unique_ptr<Engine> open_tvm(const Model& model, size_t threads) {
  return std::make_unique<TvmEngine>(model, threads);
}

}  // namespace edgewright
