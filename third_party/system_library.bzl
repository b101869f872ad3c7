"""Libraries that are taken from the system, for those that no archive builds.

A repository of this kind is made when a target that needs it is built, and
fails then if the library is not installed.
"""

def _flags(context, option):
    package = context.attr.package
    command = ["pkg-config", option, package]
    result = context.execute(command)
    if result.return_code != 0:
        fail("{} is not installed with its headers, or pkg-config is not: `{}` says {}".format(
            package,
            " ".join(command),
            result.stderr.strip(),
        ))
    return result.stdout.strip()

def _system_library(context):
    directory = _flags(context, "--variable=includedir")
    for header in context.attr.headers:
        context.symlink("{}/{}".format(directory, header), "include/" + header)
    context.file("BUILD.bazel", """
cc_library(
    name = "{name}",
    hdrs = glob(["include/**/*.h"]),
    includes = ["include"],
    linkopts = {linkopts},
    visibility = ["//visibility:public"],
)
""".format(
        name = context.attr.library,
        linkopts = repr(_flags(context, "--libs").split(" ")),
    ))

# The files or directories `headers` of what pkg-config calls `package`, as one
# cc_library.
system_library = repository_rule(
    implementation = _system_library,
    attrs = {
        "headers": attr.string_list(mandatory = True),
        "library": attr.string(mandatory = True),
        "package": attr.string(mandatory = True),
    },
    environ = ["PKG_CONFIG_PATH"],
    local = True,
)
