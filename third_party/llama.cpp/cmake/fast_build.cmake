# A faster build: unity sources, and -O1 for everything that computes no tensor.

# Kernels and quantizers are ggml-cpu and the C sources of ggml-base. The rest builds graphs, parses
# and prints; -O3 for it would take half of the build. Its warnings would bury an error in the log.
foreach(target cpp-httplib ggml llama llama-common llama-completion-impl llama-imatrix
        llama-quantize-impl)
    if(TARGET ${target})
        target_compile_options(${target} PRIVATE -O1 -w)
    endif()
endforeach()
target_compile_options(ggml-base PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-O1>)

# Compiles the sources of `target` in batches, except those (ALONE) whose names clash with others.
function(phibuild_unity target)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "ALONE")
    get_target_property(folder ${target} SOURCE_DIR)
    get_target_property(sources ${target} SOURCES)
    foreach(source IN LISTS sources)
        cmake_path(ABSOLUTE_PATH source BASE_DIRECTORY "${folder}" NORMALIZE)
        cmake_path(RELATIVE_PATH source BASE_DIRECTORY "${folder}" OUTPUT_VARIABLE name)
        set(alone OFF)
        if(name IN_LIST arg_ALONE)
            set(alone ON)
        endif()
        set_source_files_properties("${source}" TARGET_DIRECTORY ${target}
            PROPERTIES SKIP_UNITY_BUILD_INCLUSION ${alone})
    endforeach()
    # Sixteen: a compiler needs less than 1 GB, and there are batches for all cores of a laptop.
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 16)
endfunction()

if(PHIBUILD_UNITY)
    phibuild_unity(llama ALONE llama-kv-cache-dsv4.cpp models/glm5-next.cpp)
    phibuild_unity(llama-common ALONE json.cpp jinja/value.cpp)
endif()
