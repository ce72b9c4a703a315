# The target and the install component `phibuild`: what phibuild needs of llama.cpp.
add_custom_target(phibuild ALL DEPENDS ${programs})
install(TARGETS ${programs} RUNTIME DESTINATION bin COMPONENT phibuild)
install(FILES "${LLAMA_CPP_SOURCE_DIR}/LICENSE" DESTINATION . COMPONENT phibuild)

# The converter finds gguf-py beside itself.
install(FILES "${LLAMA_CPP_SOURCE_DIR}/convert_hf_to_gguf.py" DESTINATION python COMPONENT phibuild)
install(DIRECTORY "${LLAMA_CPP_SOURCE_DIR}/conversion" DESTINATION python
    COMPONENT phibuild OPTIONAL FILES_MATCHING PATTERN "*.py" PATTERN __pycache__ EXCLUDE)
install(DIRECTORY "${LLAMA_CPP_SOURCE_DIR}/gguf-py/gguf" DESTINATION python/gguf-py
    COMPONENT phibuild
    FILES_MATCHING PATTERN "*.py" PATTERN __pycache__ EXCLUDE PATTERN scripts EXCLUDE)
