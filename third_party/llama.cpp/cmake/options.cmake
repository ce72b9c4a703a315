# Upstream's options: static programs, for the processor, without server, tests or TLS.
#
# Whatever decides the programs' bytes or results is set here: upstream's defaults depend on the
# machine, the environment (SOURCE_DATE_EPOCH turns AVX off) or a repository around the tree.
set(LLAMA_BUILD_NUMBER 0 CACHE STRING "upstream's build number, shown by --version")
set(LLAMA_BUILD_COMMIT unknown CACHE STRING "upstream's commit, shown by --version")
set(GIT_EXE "" CACHE INTERNAL "ggml does not ask git for a commit")

foreach(name LLAMA_BUILD_COMMON LLAMA_BUILD_TOOLS)
    set(${name} ON CACHE BOOL "set by phibuild")
endforeach()
foreach(name
        BUILD_SHARED_LIBS
        LLAMA_ALL_WARNINGS LLAMA_BUILD_APP LLAMA_BUILD_EXAMPLES LLAMA_BUILD_SERVER
        LLAMA_BUILD_TESTS LLAMA_OPENSSL LLAMA_SUBPROCESS LLAMA_TOOLS_INSTALL
        GGML_ACCELERATE GGML_BLAS GGML_CCACHE GGML_LLAMAFILE GGML_METAL GGML_NATIVE GGML_OPENMP)
    set(${name} OFF CACHE BOOL "set by phibuild")
endforeach()
