"""The libraries polyref is built with, as pinned archives; libpq is the system's.

Every repository is wrapped in `maybe`: a workspace that declares one of them
before calling these macros keeps its own version.
"""

load("@bazel_tools//tools/build_defs/repo:http.bzl", "http_archive")
load("@bazel_tools//tools/build_defs/repo:utils.bzl", "maybe")
load(":system_library.bzl", "system_library")

def polyref_dependencies():
    """What a workspace that uses polyref needs."""

    # Abseil's own build files load these two; the `platforms` that comes with
    # Bazel 5 lacks some of its constraints.
    maybe(
        http_archive,
        name = "bazel_skylib",
        sha256 = "cd55a062e763b9349921f0f5db8c3933288dc8ba4f76dd9416aac68acee3cb94",
        url = "https://github.com/bazelbuild/bazel-skylib/releases/download/1.5.0/bazel-skylib-1.5.0.tar.gz",
    )

    maybe(
        http_archive,
        name = "platforms",
        sha256 = "8150406605389ececb6da07cbcb509d5637a3ab9a24bc69b1101531367d89d74",
        url = "https://github.com/bazelbuild/platforms/releases/download/0.0.8/platforms-0.0.8.tar.gz",
    )

    maybe(
        http_archive,
        name = "com_google_absl",
        sha256 = "987ce98f02eefbaf930d6e38ab16aa05737234d7afbab2d5c4ea7adbe50c28ed",
        strip_prefix = "abseil-cpp-20230802.1",
        url = "https://github.com/abseil/abseil-cpp/archive/refs/tags/20230802.1.tar.gz",
    )

    maybe(
        http_archive,
        name = "boost",
        build_file = Label("//third_party:boost.BUILD"),
        sha256 = "cc4b893acf645c9d4b698e9a0f08ca8846aa5d6c68275c14c3e7949c24109454",
        strip_prefix = "boost_1_84_0",
        url = "https://archives.boost.io/release/1.84.0/source/boost_1_84_0.tar.bz2",
    )

    maybe(
        http_archive,
        name = "sqlite3",
        build_file = Label("//third_party:sqlite3.BUILD"),
        sha256 = "49112cc7328392aa4e3e5dae0b2f6736d0153430143d21f69327788ff4efe734",
        strip_prefix = "sqlite-amalgamation-3400100",
        url = "https://www.sqlite.org/2022/sqlite-amalgamation-3400100.zip",
    )

    # Only for //loaders:memcached_tier. It has no build of Bazel's.
    maybe(
        system_library,
        name = "libmemcached",
        headers = [
            "libhashkit-1.0",
            "libmemcached",
            "libmemcached-1.0",
        ],
        library = "memcached",
        package = "libmemcached",
    )

    # Only for what reads PostgreSQL. Its client library has no build of Bazel's,
    # and belongs to the system's TLS and Kerberos anyway.
    maybe(
        system_library,
        name = "libpq",
        headers = [
            "libpq-fe.h",
            "pg_config_ext.h",
            "postgres_ext.h",
        ],
        library = "pq",
        package = "libpq",
    )

    # Only for //cache:open_metrics, and of it only the package `core`. The name
    # is the one that its own build files call it by.
    maybe(
        http_archive,
        name = "com_github_jupp0r_prometheus_cpp",
        sha256 = "593e028d401d3298eada804d252bc38d8cab3ea1c9e88bcd72095281f85e6d16",
        strip_prefix = "prometheus-cpp-1.0.1",
        url = "https://github.com/jupp0r/prometheus-cpp/archive/refs/tags/v1.0.1.tar.gz",
    )

def polyref_dev_dependencies():
    """What polyref's own tests, benchmarks and demo need on top."""

    maybe(
        http_archive,
        name = "com_google_googletest",
        sha256 = "8ad598c73ad796e0d8280b082cebd82a630d73e73cd3c70057938a6501bba5d7",
        strip_prefix = "googletest-1.14.0",
        url = "https://github.com/google/googletest/archive/refs/tags/v1.14.0.tar.gz",
    )

    maybe(
        http_archive,
        name = "com_github_google_benchmark",
        sha256 = "6bc180a57d23d4d9515519f92b0c83d61b05b5bab188961f36ac7b06b0d9e9ce",
        strip_prefix = "benchmark-1.8.3",
        url = "https://github.com/google/benchmark/archive/refs/tags/v1.8.3.tar.gz",
    )

    maybe(
        http_archive,
        name = "nlohmann_json",
        build_file = Label("//third_party:nlohmann_json.BUILD"),
        sha256 = "0d8ef5af7f9794e3263480193c491549b2ba6cc74bb018906202ada498a79406",
        strip_prefix = "json-3.11.3",
        url = "https://github.com/nlohmann/json/archive/refs/tags/v3.11.3.tar.gz",
    )

    maybe(
        http_archive,
        name = "cli11",
        build_file = Label("//third_party:cli11.BUILD"),
        sha256 = "aac0ab42108131ac5d3344a9db0fdf25c4db652296641955720a4fbe52334e22",
        strip_prefix = "CLI11-2.3.2",
        url = "https://github.com/CLIUtils/CLI11/archive/refs/tags/v2.3.2.tar.gz",
    )

    # Only for //bench:access_trace.
    maybe(
        http_archive,
        name = "xz",
        build_file = Label("//third_party:xz.BUILD"),
        sha256 = "135c90b934aee8fbc0d467de87a05cb70d627da36abe518c357a873709e5b7d6",
        strip_prefix = "xz-5.4.5",
        url = "https://github.com/tukaani-project/xz/releases/download/v5.4.5/xz-5.4.5.tar.gz",
    )

    # Only for //bench:other_caches.
    maybe(
        http_archive,
        name = "leveldb",
        build_file = Label("//third_party:leveldb.BUILD"),
        sha256 = "9a37f8a6174f09bd622bc723b55881dc541cd50747cbd08831c2a82d620f6d76",
        strip_prefix = "leveldb-1.23",
        url = "https://github.com/google/leveldb/archive/refs/tags/1.23.tar.gz",
    )

    maybe(
        http_archive,
        name = "rocksdb",
        build_file = Label("//third_party:rocksdb.BUILD"),
        sha256 = "b85408a374770897332bf15e51620a5f35720dd416a4749e3899057f9cfaf84d",
        strip_prefix = "rocksdb-7.8.3",
        url = "https://github.com/facebook/rocksdb/archive/refs/tags/v7.8.3.tar.gz",
    )

    maybe(
        http_archive,
        name = "onetbb",
        sha256 = "eee380323bb7ce864355ed9431f85c43955faaae9e9bce35c62b372d7ffd9f8b",
        strip_prefix = "oneTBB-2021.8.0",
        url = "https://github.com/oneapi-src/oneTBB/archive/refs/tags/v2021.8.0.tar.gz",
    )

    # 2023-02-15, branch master-with-bazel. For <openssl/sha.h> and <openssl/evp.h>.
    maybe(
        http_archive,
        name = "boringssl",
        sha256 = "863fc670c456f30923740c1639305132fdfb9d1b25ba385a67ae3862ef12a8af",
        strip_prefix = "boringssl-5c22014ca513807ed03c657e8ede076164663979",
        url = "https://github.com/google/boringssl/archive/5c22014ca513807ed03c657e8ede076164663979.zip",
    )
