"""Abseil's labels over Debian's shared libraries.

The lists are those of `pkg-config --libs`, closed over what the headers call
inline. --as-needed drops what a program does not call.
"""

_LOGGING = [
    "raw_logging_internal",
    "log_severity",
]

_THROW = ["throw_delegate"] + _LOGGING

_BASE = [
    "base",
    "spinlock_wait",
] + _LOGGING

_STRINGS = [
    "strings",
    "strings_internal",
    "int128",
    "throw_delegate",
] + _BASE

_STR_FORMAT = ["str_format_internal"] + _STRINGS

_TIME = [
    "time",
    "civil_time",
    "time_zone",
] + _STRINGS

_SYMBOLIZE = [
    "symbolize",
    "debugging_internal",
    "demangle_internal",
    "malloc_internal",
] + _STRINGS

_SYNCHRONIZATION = [
    "synchronization",
    "graphcycles_internal",
    "stacktrace",
] + _SYMBOLIZE + _TIME

_CORD = [
    "cord",
    "cordz_info",
    "cord_internal",
    "cordz_functions",
    "cordz_handle",
    "exponential_biased",
    "bad_optional_access",
] + _SYNCHRONIZATION

_HASH = [
    "hash",
    "city",
    "low_level_hash",
    "bad_optional_access",
    "bad_variant_access",
] + _STRINGS

_RAW_HASH_SET = [
    "raw_hash_set",
    "hashtablez_sampler",
] + _HASH + _CORD

_STATUS = [
    "status",
    "strerror",
    "str_format_internal",
] + _CORD

LIBS = {
    "base": _BASE,
    "cord": _CORD,
    "hash": _HASH,
    "raw_hash_set": _RAW_HASH_SET,
    "status": _STATUS,
    "statusor": [
        "statusor",
        "bad_variant_access",
    ] + _STATUS,
    "str_format": _STR_FORMAT,
    "strings": _STRINGS,
    "throw": _THROW,
    "time": _TIME,
}

def absl_library(name, libs = None):
    """One of Abseil's targets.

    Args:
      name: its name upstream.
      libs: a key of LIBS; nothing for a target of headers only.
    """
    linkopts = []
    if libs:
        linkopts = ["-Wl,--push-state,--as-needed"] + \
                   ["-labsl_" + lib for lib in LIBS[libs]] + \
                   ["-Wl,--pop-state"]
    native.cc_library(
        name = name,
        linkopts = linkopts,
        visibility = ["//visibility:public"],
    )
