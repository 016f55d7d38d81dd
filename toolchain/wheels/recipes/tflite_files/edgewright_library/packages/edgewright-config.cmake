# find_package(edgewright) gives edgewright::edgewright, the library and its headers, wherever this
# folder was copied to.
get_filename_component(_edgewright_prefix "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
if(NOT TARGET edgewright::edgewright)
  add_library(edgewright::edgewright SHARED IMPORTED)
  set_target_properties(
    edgewright::edgewright
    PROPERTIES IMPORTED_LOCATION "${_edgewright_prefix}/lib/libedgewright.so"
               IMPORTED_SONAME libedgewright.so
               INTERFACE_INCLUDE_DIRECTORIES "${_edgewright_prefix}/include"
  )
endif()
unset(_edgewright_prefix)
