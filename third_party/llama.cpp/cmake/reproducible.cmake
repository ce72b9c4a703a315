# The same bytes in every folder, and the same quantized models from every compiler.

# A fused multiply-add rounds once instead of twice, and compilers fuse in different places: quantized
# bytes would differ between gcc and clang (llama.cpp PR 25353).
add_compile_options(-ffp-contract=off)

# Assertions contain the name of their source file.
add_compile_options(
    "-ffile-prefix-map=${LLAMA_CPP_SOURCE_DIR}=llama.cpp"
    "-ffile-prefix-map=${PHIBUILD_NATIVE_DIR}=native"
    "-ffile-prefix-map=${CMAKE_BINARY_DIR}=build")

if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|amd64|AMD64)$")
    # ggml enables instruction sets for its kernels only; the level also vectorises the quantizers.
    # Their results do not depend on it, since nothing is contracted.
    add_compile_options(-march=x86-64-v${PHIBUILD_X86_64_LEVEL})
    set(has_avx2 OFF)
    if(PHIBUILD_X86_64_LEVEL GREATER_EQUAL 3)
        set(has_avx2 ON)
    endif()
    set(GGML_SSE42 ON CACHE BOOL "from PHIBUILD_X86_64_LEVEL")
    foreach(name AVX AVX2 BMI2 F16C FMA)
        set(GGML_${name} ${has_avx2} CACHE BOOL "from PHIBUILD_X86_64_LEVEL")
    endforeach()
endif()
