{
  "variables": {
    # The sources that zstd-napi is built of.
    "zstd": "<!(node -p \"require('path').relative('.', require('path').dirname(require.resolve('zstd-napi/package.json'))) + '/deps/zstd/lib'\")"
  },
  "targets": [
    {
      "target_name": "zstd",
      "type": "static_library",
      "sources": [
        "<(zstd)/common/debug.c",
        "<(zstd)/common/entropy_common.c",
        "<(zstd)/common/error_private.c",
        "<(zstd)/common/fse_decompress.c",
        "<(zstd)/common/xxhash.c",
        "<(zstd)/common/zstd_common.c",
        "<(zstd)/compress/fse_compress.c",
        "<(zstd)/compress/hist.c",
        "<(zstd)/compress/huf_compress.c",
        "<(zstd)/compress/zstd_compress.c",
        "<(zstd)/compress/zstd_compress_literals.c",
        "<(zstd)/compress/zstd_compress_sequences.c",
        "<(zstd)/compress/zstd_compress_superblock.c",
        "<(zstd)/compress/zstd_double_fast.c",
        "<(zstd)/compress/zstd_fast.c",
        "<(zstd)/compress/zstd_lazy.c",
        "<(zstd)/compress/zstd_ldm.c",
        "<(zstd)/compress/zstd_opt.c",
        "<(zstd)/compress/zstd_preSplit.c",
        "<(zstd)/decompress/huf_decompress.c",
        "<(zstd)/decompress/huf_decompress_amd64.S",
        "<(zstd)/decompress/zstd_ddict.c",
        "<(zstd)/decompress/zstd_decompress.c",
        "<(zstd)/decompress/zstd_decompress_block.c"
      ],
      "defines": ["XXH_NAMESPACE=ZSTD_", "ZSTDLIB_VISIBLE=", "ZSTDERRORLIB_VISIBLE="],
      "cflags": ["-fvisibility=hidden"]
    },
    {
      "target_name": "naiad",
      "dependencies": ["zstd"],
      "sources": [
        "src/addon.cc",
        "src/codec/zstd.cc",
        "src/descriptors/descriptors.cc",
        "src/descriptors/packets.cc",
        "src/descriptors/passing.cc",
        "src/file/lock.cc",
        "src/file/node.cc",
        "src/file/times.cc",
        "src/device/device.cc",
        "src/digest/sha256.cc",
        "src/file/xattr.cc",
        "src/fuse/directory.cc",
        "src/fuse/fuse.cc",
        "src/fuse/read.cc",
        "src/fuse/replies.cc",
        "src/fuse/server.cc",
        "src/fuse/session.cc",
        "src/fuse/touches.cc",
        "src/image/bootstrap.cc",
        "src/image/directory.cc",
        "src/memory/memory.cc",
        "src/mount/mount.cc",
        "src/process/replace.cc"
      ],
      "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")", "src", "<(zstd)"],
      "defines": ["NAPI_VERSION=9", "NODE_ADDON_API_DISABLE_CPP_EXCEPTIONS", "NODE_ADDON_API_DISABLE_DEPRECATED"],
      "cflags!": ["-std=gnu++17"],
      "cflags_cc!": ["-std=gnu++17"],
      "cflags_cc": ["-std=c++20", "-Wall", "-Wextra", "-Werror", "-fvisibility=hidden", "-fno-exceptions"]
    },
    {
      "target_name": "naiad-prober",
      "type": "executable",
      "sources": ["src/bench/prober.cc"],
      "cflags!": ["-std=gnu++17"],
      "cflags_cc!": ["-std=gnu++17"],
      "cflags_cc": ["-std=c++20", "-Wall", "-Wextra", "-Werror", "-fno-exceptions", "-fno-rtti"],
      "ldflags!": ["-rdynamic"],
      "ldflags": ["-static-libstdc++", "-static-libgcc"]
    },
    {
      "target_name": "naiad-keeper",
      "type": "executable",
      "sources": [
        "src/keeper/calls.cc",
        "src/keeper/daemon.cc",
        "src/keeper/devices.cc",
        "src/keeper/events.cc",
        "src/keeper/group.cc",
        "src/keeper/journal.cc",
        "src/keeper/keeper.cc",
        "src/keeper/main.cc"
      ],
      "include_dirs": ["src"],
      "cflags!": ["-std=gnu++17"],
      "cflags_cc!": ["-std=gnu++17"],
      "cflags_cc": ["-std=c++20", "-Wall", "-Wextra", "-Werror", "-fno-exceptions", "-fno-rtti"],
      "ldflags!": ["-rdynamic"],
      "ldflags": ["-static-libstdc++", "-static-libgcc"]
    }
  ]
}
