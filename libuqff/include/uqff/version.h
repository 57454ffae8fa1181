/* The one place that holds the version: CMake, pkg-config and the program read it from here. */
#ifndef UQFF_VERSION_H
#define UQFF_VERSION_H

#define UQFF_VERSION_MAJOR 0
#define UQFF_VERSION_MINOR 1
#define UQFF_VERSION_PATCH 0
#define UQFF_VERSION "0.1.0"
/* For #if: 0.1.0 is 100, 1.2.3 would be 10203. */
#define UQFF_VERSION_NUMBER                                                                        \
    (UQFF_VERSION_MAJOR * 10000 + UQFF_VERSION_MINOR * 100 + UQFF_VERSION_PATCH)

#endif
