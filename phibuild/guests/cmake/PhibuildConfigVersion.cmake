# The version of phibuild itself; a request for the same major version is met.
file(STRINGS "${CMAKE_CURRENT_LIST_DIR}/../../__init__.py" _phibuild_line REGEX "^__version__ = ")
string(REGEX REPLACE "^__version__ = \"([0-9.]+).*" "\\1" PACKAGE_VERSION "${_phibuild_line}")
unset(_phibuild_line)

string(REGEX REPLACE "\\..*" "" _phibuild_major "${PACKAGE_VERSION}")
if(NOT PACKAGE_FIND_VERSION VERSION_GREATER PACKAGE_VERSION
   AND (NOT PACKAGE_FIND_VERSION OR PACKAGE_FIND_VERSION_MAJOR EQUAL _phibuild_major))
  set(PACKAGE_VERSION_COMPATIBLE TRUE)
  if(PACKAGE_FIND_VERSION VERSION_EQUAL PACKAGE_VERSION)
    set(PACKAGE_VERSION_EXACT TRUE)
  endif()
endif()
unset(_phibuild_major)
