# Files that are installed with the programs: man pages, completion, the systemd unit, configuration, documents. There are two
# components: the worker's (the default) and `sandbox`, which is installed only on request. Paths in the files depend on the prefix of
# the installation, so they are filled in at the installation.

set(packaging ${CMAKE_SOURCE_DIR}/packaging)
set(pages ${CMAKE_BINARY_DIR}/packaging)
file(MAKE_DIRECTORY ${pages})

# The only source of the keys is docs/configuration.md, which the tests compare with the code.
add_custom_command(OUTPUT ${pages}/privacy-call-worker.conf.5
    COMMAND ${CMAKE_SOURCE_DIR}/tools/man-configuration ${PROJECT_VERSION} ${CMAKE_SOURCE_DIR}/docs/configuration.md
            ${pages}/privacy-call-worker.conf.5
    DEPENDS ${CMAKE_SOURCE_DIR}/tools/man-configuration ${CMAKE_SOURCE_DIR}/docs/configuration.md VERBATIM)
add_custom_target(man ALL DEPENDS ${pages}/privacy-call-worker.conf.5)

set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/docs/configuration.md)
file(STRINGS ${CMAKE_SOURCE_DIR}/docs/configuration.md rows REGEX "^\\| `[a-z][a-z0-9._]*` \\|")
set(keys "")
foreach(row IN LISTS rows)
    string(REGEX REPLACE "^\\| `([^`]*)`.*" "\\1" key "${row}")
    list(APPEND keys ${key})
endforeach()
list(REMOVE_DUPLICATES keys)
list(SORT keys)
string(REPLACE ";" " " keys "${keys}")

foreach(component worker sandbox)
    set(only "")
    if(component STREQUAL sandbox)
        set(only EXCLUDE_FROM_ALL)
    endif()
    install(CODE "
        set(component ${component})
        set(source \"${CMAKE_SOURCE_DIR}\")
        set(pages \"${pages}\")
        set(keys \"${keys}\")
        set(VERSION \"${PROJECT_VERSION}\")
        include(\"${CMAKE_SOURCE_DIR}/cmake/install.cmake\")" COMPONENT ${component} ${only})
endforeach()
