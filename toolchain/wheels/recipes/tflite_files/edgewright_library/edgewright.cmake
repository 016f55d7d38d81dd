# The library as one more target of TensorFlow Lite's own project, so that each of its objects is
# compiled by the very command that the wheel's are, and comes from the compiler's cache.
#
# Included by the project() of that name. The caller sets EDGEWRIGHT_FILES, this folder,
# EDGEWRIGHT_JSON, the folder that holds nlohmann/json.hpp, and EDGEWRIGHT_TVM_FFI, TVM FFI's source.
function(add_edgewright_library)
  file(GLOB sources "${EDGEWRIGHT_FILES}/source/*.cc")
  list(SORT sources)
  add_library(edgewright SHARED EXCLUDE_FROM_ALL ${sources})
  target_compile_features(edgewright PRIVATE cxx_std_17)
  target_include_directories(
    edgewright PRIVATE "${EDGEWRIGHT_FILES}/include" "${EDGEWRIGHT_JSON}"
                       "${FP16_SOURCE_DIR}/include"
  )
  # another's headers, which have their own warnings
  target_include_directories(
    edgewright SYSTEM PRIVATE "${EDGEWRIGHT_TVM_FFI}/include"
                              "${EDGEWRIGHT_TVM_FFI}/3rdparty/dlpack/include"
  )
  # sums and products are rounded one by one, as numpy has them
  target_compile_options(edgewright PRIVATE -Wall -Wextra -ffp-contract=off)
  target_link_libraries(edgewright PRIVATE tensorflow-lite ${CMAKE_DL_LIBS})
  target_link_options(edgewright PRIVATE "-Wl,--version-script,${EDGEWRIGHT_FILES}/exports.map")
endfunction()
cmake_language(DEFER CALL add_edgewright_library)
