# Each folder of src/ is a static library that sees only the folders it may use: its include path is a tree of links to just
# those, so that a forbidden include does not compile. A main.c is kept out of the library and becomes a program.

add_custom_target(layers ALL
    COMMAND ${CMAKE_SOURCE_DIR}/cmake/check-layers.sh ${CMAKE_SOURCE_DIR}
    COMMENT "Checking that no layer includes what it may not" VERBATIM)

function(layer_tree NAME)
    set(tree ${CMAKE_BINARY_DIR}/layers/${NAME})
    file(MAKE_DIRECTORY ${tree})
    foreach(folder IN LISTS ARGN)
        file(CREATE_LINK ${CMAKE_SOURCE_DIR}/src/${folder} ${tree}/${folder} SYMBOLIC)
    endforeach()
endfunction()

function(layer_library NAME TREE USES LINKS SOURCES)
    if(NOT SOURCES)
        set(SOURCES ${CMAKE_SOURCE_DIR}/cmake/empty.c)
    endif()
    layer_tree(${TREE} ${USES})
    add_library(${NAME} STATIC ${SOURCES})
    target_include_directories(${NAME} PRIVATE ${CMAKE_BINARY_DIR}/layers/${TREE})
    target_link_libraries(${NAME} PUBLIC ${LINKS})
    add_dependencies(${NAME} layers)
endfunction()

# layer(NAME USES folders... LINKS targets...): all of src/NAME but main.c
function(layer NAME)
    cmake_parse_arguments(L "" "" "USES;LINKS" ${ARGN})
    file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${NAME}/*.c)
    list(FILTER sources EXCLUDE REGEX "/main\\.c$")
    layer_library(${NAME} ${NAME} "${L_USES}" "${L_LINKS}" "${sources}")
endfunction()

# layer_part(FOLDER NAME ...): src/FOLDER/NAME*.c as a library of its own that sees the rest of FOLDER by its headers' names only
function(layer_part FOLDER NAME)
    cmake_parse_arguments(L "" "" "USES;LINKS" ${ARGN})
    file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${FOLDER}/${NAME}*.c)
    file(GLOB headers CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${FOLDER}/${NAME}*.h)
    layer_library(${FOLDER}-${NAME} ${FOLDER}-${NAME} "${L_USES}" "${L_LINKS}" "${sources}")
    file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/layers/${FOLDER}-${NAME}/${FOLDER})
    foreach(header IN LISTS headers)
        get_filename_component(file ${header} NAME)
        file(CREATE_LINK ${header} ${CMAKE_BINARY_DIR}/layers/${FOLDER}-${NAME}/${FOLDER}/${file} SYMBOLIC)
    endforeach()
endfunction()

# program(NAME LAYER layer): src/LAYER/main.c with its layer's library
function(program NAME)
    cmake_parse_arguments(P "" "LAYER" "" ${ARGN})
    if(NOT EXISTS ${CMAKE_SOURCE_DIR}/src/${P_LAYER}/main.c)
        return()
    endif()
    add_executable(${NAME} ${CMAKE_SOURCE_DIR}/src/${P_LAYER}/main.c)
    target_include_directories(${NAME} PRIVATE ${CMAKE_BINARY_DIR}/layers/${P_LAYER})
    target_link_libraries(${NAME} PRIVATE ${P_LAYER})
    set(only "")
    if(P_LAYER STREQUAL sandbox)
        set(only EXCLUDE_FROM_ALL)
    endif()
    install(TARGETS ${NAME} RUNTIME DESTINATION bin COMPONENT ${P_LAYER} ${only})
endfunction()
