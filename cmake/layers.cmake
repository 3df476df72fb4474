# Each folder of src/, and the two of sandbox/, is a static library that can include only the folders it may use: its include path is a
# tree of links to these, so that a forbidden include does not compile. A main.c is not part of the library; it becomes a program.

add_custom_target(layers ALL
    COMMAND ${CMAKE_SOURCE_DIR}/cmake/check-layers.sh ${CMAKE_SOURCE_DIR}
    COMMENT "Checking that no layer includes what it may not" VERBATIM)

# layer_path(VARIABLE FOLDER): the path of a folder (or header) that an include names: the sandbox is beside src/, all others are in it
function(layer_path VARIABLE FOLDER)
    if(FOLDER MATCHES "^sandbox(/|$)")
        set(${VARIABLE} ${CMAKE_SOURCE_DIR}/${FOLDER} PARENT_SCOPE)
    else()
        set(${VARIABLE} ${CMAKE_SOURCE_DIR}/src/${FOLDER} PARENT_SCOPE)
    endif()
endfunction()

function(layer_tree NAME)
    set(tree ${CMAKE_BINARY_DIR}/layers/${NAME})
    foreach(folder IN LISTS ARGN)
        layer_path(path ${folder})
        get_filename_component(parent ${tree}/${folder} DIRECTORY)
        file(MAKE_DIRECTORY ${parent})
        file(CREATE_LINK ${path} ${tree}/${folder} SYMBOLIC)
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

# layer(FOLDER USES folders... LINKS targets...): all of FOLDER except main.c; the library of a/b is called a-b
function(layer FOLDER)
    cmake_parse_arguments(L "" "" "USES;LINKS" ${ARGN})
    layer_path(path ${FOLDER})
    string(REPLACE "/" "-" NAME ${FOLDER})
    file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${path}/*.c)
    list(FILTER sources EXCLUDE REGEX "/main\\.c$")
    layer_library(${NAME} ${NAME} "${L_USES}" "${L_LINKS}" "${sources}")
endfunction()

# layer_part(FOLDER NAME ...): src/FOLDER/NAME*.c as a separate library, which can include only its own headers of FOLDER
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

# program(NAME FOLDER folder USES folders... LINKS targets...): FOLDER/main.c; the folder is the component of its installation
function(program NAME)
    cmake_parse_arguments(P "" "FOLDER" "USES;LINKS" ${ARGN})
    layer_path(path ${P_FOLDER})
    if(NOT EXISTS ${path}/main.c)
        return()
    endif()
    layer_tree(${NAME} ${P_USES})
    add_executable(${NAME} ${path}/main.c)
    target_include_directories(${NAME} PRIVATE ${CMAKE_BINARY_DIR}/layers/${NAME})
    target_link_libraries(${NAME} PRIVATE ${P_LINKS})
    set(only "")
    if(P_FOLDER STREQUAL sandbox)
        set(only EXCLUDE_FROM_ALL)
    endif()
    install(TARGETS ${NAME} RUNTIME DESTINATION bin COMPONENT ${P_FOLDER} ${only})
endfunction()
