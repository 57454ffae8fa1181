# Compile options that every target of the project shares. Nothing global is touched, so the project
# behaves as a subproject.
add_library(uqff_options INTERFACE)
target_compile_features(uqff_options INTERFACE c_std_11)
target_compile_options(uqff_options INTERFACE
    -Wall -Wextra -Wconversion -Wshadow -Wvla -Wstrict-prototypes
    # The same bytes everywhere: a*b+c is two roundings, whatever the compiler and the machine.
    -ffp-contract=off)
target_compile_definitions(uqff_options INTERFACE _GNU_SOURCE _FILE_OFFSET_BITS=64)
if(UQFF_WERROR)
    target_compile_options(uqff_options INTERFACE -Werror)
endif()
if(UQFF_SANITIZE)
    target_compile_options(uqff_options INTERFACE
        -fsanitize=${UQFF_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
    target_link_options(uqff_options INTERFACE -fsanitize=${UQFF_SANITIZE})
endif()

set(UQFF_LIBRARIES "" CACHE INTERNAL "")

# uqff_library(NAME base FILE uqff-base SOURCES ... INCLUDE dir PUBLIC other... PRIVATE lib...)
# makes a static and a shared library from one compilation, and the alias uqff::NAME for one of them.
function(uqff_library)
    cmake_parse_arguments(arg "" "NAME;FILE;INCLUDE" "SOURCES;PUBLIC;PRIVATE" ${ARGN})
    set(objects uqff_${arg_NAME}_objects)
    add_library(${objects} OBJECT ${arg_SOURCES})
    set_target_properties(${objects} PROPERTIES
        POSITION_INDEPENDENT_CODE ON C_VISIBILITY_PRESET hidden)
    target_include_directories(${objects} PUBLIC ${arg_INCLUDE}
                               PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
    target_link_libraries(${objects} PRIVATE $<BUILD_INTERFACE:uqff_options> ${arg_PRIVATE})
    foreach(dependency IN LISTS arg_PUBLIC)
        target_link_libraries(${objects} PUBLIC uqff_${dependency}_objects)
    endforeach()

    foreach(kind static shared)
        string(TOUPPER ${kind} upper)
        set(target uqff_${arg_NAME}_${kind})
        add_library(${target} ${upper} $<TARGET_OBJECTS:${objects}>)
        add_library(uqff::${arg_NAME}_${kind} ALIAS ${target})
        set_target_properties(${target} PROPERTIES
            OUTPUT_NAME ${arg_FILE} EXPORT_NAME ${arg_NAME}_${kind}
            VERSION ${PROJECT_VERSION} SOVERSION 0
            # The shared libraries find each other in whatever folder they are.
            INSTALL_RPATH "$ORIGIN")
        target_include_directories(${target} INTERFACE
            $<BUILD_INTERFACE:${arg_INCLUDE}> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
        foreach(dependency IN LISTS arg_PUBLIC)
            target_link_libraries(${target} PUBLIC uqff_${dependency}_${kind})
        endforeach()
        target_link_libraries(${target} PRIVATE $<BUILD_INTERFACE:uqff_options> ${arg_PRIVATE})
    endforeach()
    if(BUILD_SHARED_LIBS)
        add_library(uqff::${arg_NAME} ALIAS uqff_${arg_NAME}_shared)
    else()
        add_library(uqff::${arg_NAME} ALIAS uqff_${arg_NAME}_static)
    endif()
    set(UQFF_LIBRARIES ${UQFF_LIBRARIES} uqff_${arg_NAME}_static uqff_${arg_NAME}_shared
        CACHE INTERNAL "")
endfunction()
