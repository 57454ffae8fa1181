# What `cmake --install` puts where, so that find_package(uqff) and pkg-config find it.
include(CMakePackageConfigHelpers)

install(TARGETS ${UQFF_LIBRARIES}
    EXPORT uqff-targets
    ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
    LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT uqff-targets NAMESPACE uqff::
    DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/uqff)

foreach(directory libuqff quantizers libgguf)
    install(DIRECTORY ${directory}/include/uqff DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
endforeach()

# What the headers refer to, and what may be copied.
install(FILES README.md CHANGELOG.md LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY docs spec examples DESTINATION ${CMAKE_INSTALL_DOCDIR})

configure_package_config_file(cmake/uqff-config.cmake.in
    ${CMAKE_CURRENT_BINARY_DIR}/uqff-config.cmake
    INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/uqff)
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/uqff-config-version.cmake
    COMPATIBILITY SameMinorVersion)
install(FILES
    ${CMAKE_CURRENT_BINARY_DIR}/uqff-config.cmake
    ${CMAKE_CURRENT_BINARY_DIR}/uqff-config-version.cmake
    DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/uqff)

# One .pc a library. The prefix is relative to the file, so that an installed tree can be moved.
function(uqff_pkg_config name file description requires requires_private libs_private)
    file(RELATIVE_PATH pc_prefix
        "${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig" "${CMAKE_INSTALL_PREFIX}")
    string(REGEX REPLACE "/$" "" pc_prefix "${pc_prefix}")
    set(pc_name ${name})
    set(pc_file ${file})
    set(pc_description ${description})
    set(pc_requires ${requires})
    set(pc_requires_private ${requires_private})
    set(pc_libs_private ${libs_private})
    configure_file(cmake/uqff.pc.in ${CMAKE_CURRENT_BINARY_DIR}/${file}.pc @ONLY)
    install(FILES ${CMAKE_CURRENT_BINARY_DIR}/${file}.pc
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endfunction()

uqff_pkg_config(uqff-base uqff-base "errors, JSON, byte sources and sinks of uqff"
    "" "libxxhash, libcrypto" "${OpenMP_C_FLAGS}")
uqff_pkg_config(uqff-quantizers uqff-quantizers "block quantization types"
    "uqff-base" "" "-lm")
uqff_pkg_config(uqff-gguf uqff-gguf "GGUF files" "uqff-quantizers" "" "")
uqff_pkg_config(uqff-safetensors uqff-safetensors "safetensors files" "uqff-base" "" "")
uqff_pkg_config(uqff uqff "UQFF and multi-quant containers, packing"
    "uqff-gguf, uqff-safetensors" "zlib, libcjson, libpcre2-8, libutf8proc" "-lm")
