"""A fuzz target, to be guided by coverage and to be replayed as a test."""

def fuzz_target(name, deps):
    """Declares what NAME.cc fuzzes.

    `NAME` is linked with libFuzzer and builds with --config=fuzz only.
    `NAME_test` runs the files of corpus/NAME and inputs drawn from them; any
    compiler builds it.

    Args:
      name: of the file, without its ending.
      deps: the libraries that it includes.
    """
    corpus = native.glob(["corpus/%s/*" % name])
    native.cc_binary(
        name = name,
        testonly = True,
        srcs = [name + ".cc"],
        data = corpus + native.glob([name + ".dict"]),
        linkopts = ["-fsanitize=fuzzer"],
        tags = ["manual"],
        deps = deps,
    )
    native.cc_test(
        name = name + "_test",
        size = "small",
        srcs = [
            name + ".cc",
            "replay.cc",
        ],
        args = ["%s/corpus/%s" % (native.package_name(), name)],
        data = corpus,
        deps = deps + ["@com_google_googletest//:gtest"],
    )
