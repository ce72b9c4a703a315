# phibuild_add_model: artifacts of a phibuild project as dependencies of targets of CMake.
#
#   find_package(Phibuild REQUIRED)
#   phibuild_add_model(<name>
#     PROJECT <folder>            # of the SConstruct
#     [TARGETS <path>...]         # artifacts, by their paths from that folder
#     [EMBEDDED_MODEL <path>]     # one that env.EmbeddedModel makes, to be compiled and linked
#     [DEVICE_SOURCES <path>])    # one that env.DeviceSources makes, to be compiled
#
# The target <name> builds them. Linking to it compiles the sources of EMBEDDED_MODEL or
# DEVICE_SOURCES into the target that links, and gives it their folder to include from.
# In the caller's scope <name>_ARTIFACTS are the absolute paths of the artifacts, in this order, and
# <name>_MANIFESTS the files that change when the artifacts do: custom commands that read an artifact
# depend on its manifest.

if(CMAKE_VERSION VERSION_LESS 3.20)
  set(Phibuild_FOUND FALSE)
  set(Phibuild_NOT_FOUND_MESSAGE "Phibuild needs CMake 3.20 (depfiles with Makefiles)")
  return()
endif()

# Beside the Python that this package is installed for, else on the PATH; never in a sysroot.
find_program(PHIBUILD_EXECUTABLE phibuild
  HINTS "${CMAKE_CURRENT_LIST_DIR}/../../../../../../bin"
  NO_CMAKE_FIND_ROOT_PATH
  DOC "The command phibuild")
if(NOT PHIBUILD_EXECUTABLE)
  set(Phibuild_FOUND FALSE)
  set(Phibuild_NOT_FOUND_MESSAGE
    "phibuild was not found on PATH: pip install phibuild, or set PHIBUILD_EXECUTABLE")
  return()
endif()

cmake_policy(PUSH)
cmake_policy(VERSION 3.20...4.0)

function(phibuild_add_model name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "PROJECT;EMBEDDED_MODEL;DEVICE_SOURCES" "TARGETS")
  if(DEFINED arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "phibuild_add_model(${name}): unknown arguments ${arg_UNPARSED_ARGUMENTS}")
  endif()
  get_filename_component(project "${arg_PROJECT}" ABSOLUTE)
  if(NOT arg_PROJECT OR NOT EXISTS "${project}/SConstruct")
    message(FATAL_ERROR
      "phibuild_add_model(${name}): there is no ${project}/SConstruct; PROJECT names its folder")
  endif()
  set(targets ${arg_TARGETS} ${arg_EMBEDDED_MODEL} ${arg_DEVICE_SOURCES})
  if(NOT targets)
    message(FATAL_ERROR "phibuild_add_model(${name}): name what to build, in TARGETS or others")
  endif()

  set(artifacts ${targets})
  list(TRANSFORM artifacts PREPEND "${project}/")
  set(manifests ${artifacts})
  list(TRANSFORM manifests APPEND ".phi.json")
  # Set, since a function sees its caller's variables too.
  foreach(variable device embedded sources read)
    set(${variable} "")
  endforeach()
  if(arg_DEVICE_SOURCES)
    set(device "${project}/${arg_DEVICE_SOURCES}")
    list(APPEND sources "${device}/phi_model.c")
    list(APPEND read "${device}/phi_model.h" "${device}/phi_model_data.h")
  endif()
  if(arg_EMBEDDED_MODEL)
    set(embedded "${project}/${arg_EMBEDDED_MODEL}")
    list(APPEND sources "${embedded}/phi_model.c" "${embedded}/phi_model_data.S")
    set(script "${embedded}/phi_model_data.ld")
    list(APPEND read "${embedded}/phi_model.h" "${embedded}/phi_model_data.h" "${script}")
    get_property(languages GLOBAL PROPERTY ENABLED_LANGUAGES)
    if(NOT ASM IN_LIST languages)
      message(FATAL_ERROR "phibuild_add_model(${name}): EMBEDDED_MODEL needs the language ASM: "
        "write project(... LANGUAGES C ASM)")
    endif()
  endif()

  # Other arguments are another command, which Makefiles would not notice by themselves.
  set(beside "${CMAKE_CURRENT_BINARY_DIR}/${name}.phibuild")
  file(CONFIGURE OUTPUT "${beside}.arguments" CONTENT "${project};${targets}\n")
  add_custom_command(
    OUTPUT "${beside}.stamp"
    BYPRODUCTS ${manifests} ${sources} ${read}
    COMMAND "${PHIBUILD_EXECUTABLE}" build --directory "${project}"
      --depfile "${beside}.d" --depfile-target "${beside}.stamp" -- ${targets}
    COMMAND "${CMAKE_COMMAND}" -E touch "${beside}.stamp"
    DEPENDS "${beside}.arguments"
    DEPFILE "${beside}.d"
    COMMENT "Model ${name}"
    USES_TERMINAL
    VERBATIM)
  # The one target that owns the command: with Makefiles, each further owner would run it again.
  add_library(${name} INTERFACE "${beside}.stamp")
  # `clean` removes stamp, manifests and sources only. CMake would remove folders with all that is in
  # them, the user's files too; what stays is found in place by its bytes, and costs no work.

  # One build at a time works in a project: Ninja has one terminal to use, others need an order.
  if(NOT CMAKE_GENERATOR MATCHES Ninja)
    get_property(previous GLOBAL PROPERTY "PHIBUILD_LAST_OF ${project}")
    if(previous)
      add_dependencies(${name} ${previous})
    endif()
    set_property(GLOBAL PROPERTY "PHIBUILD_LAST_OF ${project}" ${name})
  endif()

  target_sources(${name} INTERFACE ${sources})
  target_include_directories(${name} INTERFACE ${device} ${embedded})
  if(arg_EMBEDDED_MODEL)
    # The assembler's own folder for .incbin, and the checks of size and digest at the link.
    target_compile_options(${name} INTERFACE "$<$<COMPILE_LANGUAGE:ASM>:-Wa,-I${embedded}>")
    target_link_options(${name} INTERFACE "${script}")
    set_property(TARGET ${name} APPEND PROPERTY INTERFACE_LINK_DEPENDS "${script}")
  endif()
  set(${name}_ARTIFACTS ${artifacts} PARENT_SCOPE)
  set(${name}_MANIFESTS ${manifests} PARENT_SCOPE)
endfunction()

cmake_policy(POP)
