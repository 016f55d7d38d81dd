// Included before everything else: keeps low the versions of the symbols that a library asks for,
// so that one built against a new glibc and libstdc++ loads with older ones.
#ifndef EDGEWRIGHT_ABI_FLOOR_H_
#define EDGEWRIGHT_ABI_FLOOR_H_

#include <features.h>

// C23's strtol and sscanf, which read 0b literals too, are other symbols: __isoc23_*, glibc 2.38.
#undef __GLIBC_USE_C2X_STRTOL
#define __GLIBC_USE_C2X_STRTOL 0
#undef __GLIBC_USE_C23_STRTOL
#define __GLIBC_USE_C23_STRTOL 0

#ifdef __cplusplus
#include <bits/c++config.h>
#include <cxxabi.h>

#include <exception>

// With it <iostream> asks for ios_base_library_init, GLIBCXX_3.4.32 (GCC 13).
#undef _GLIBCXX_USE_INIT_PRIORITY_ATTRIBUTE

// GCC 14 calls it where an exception leaves a noexcept function: CXXABI_1.3.15. This is what
// libstdc++'s does (libsupc++/eh_call.cc), kept inside the library.
extern "C" inline __attribute__((used, visibility("hidden"))) void __cxa_call_terminate(
    void* exception) noexcept {
  if (exception != nullptr) __cxxabiv1::__cxa_begin_catch(exception);
  std::terminate();
}
#endif  // __cplusplus

#endif  // EDGEWRIGHT_ABI_FLOOR_H_
