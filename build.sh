#!/usr/bin/env bash
#
# The one command of this repository. `./build.sh help` lists what it can do.
#
# What a build does, and why:
#
#  1. Nothing, when pkg/build.json holds the hash of the present sources. pkg/
#     is committed, so a clone deploys and runs with Node alone.
#  2. npm: Deno 2.1.4 (the level of Supabase's edge runtime), wasm-opt and, for
#     the tests, the Supabase CLI, as package-lock.json pins them.
#  3. A Rust that can compile for wasm32-unknown-unknown, the first of these:
#     a. rustup's Rust with that target;
#     b. the distribution's Rust with its sources (Debian: rustc-web,
#        rust-web-src), the standard library built along, linked by the
#        rust-lld that rustup brings;
#     c. the target through rustup. Where its server is out of reach the
#        download hangs, so it gets a minute, and a day's rest if that fails;
#     d. the packages of b, installed.
#  4. wasm-bindgen: exactly the version in Cargo.lock, or it refuses the module.
#  5. cargo, wasm-bindgen, wasm-opt, and build/pack.mjs, which writes pkg/: the
#     module goes into a plain .js file as base64, because that is the form
#     that every way of deploying an edge function carries along. No path of
#     this machine gets into it: they are remapped (build/paths.mjs), and the
#     result is searched for them (build/scan.mjs). So the same compiler makes
#     the same bytes everywhere.
#  6. The SQL file that a user pastes, from the migrations (build/sql.mjs). It
#     takes Node alone, so it is compared whenever a build is asked for.
#
# The flags of all tools stand in build/inputs.mjs. Tools that do not belong in
# the tree are kept in WHATSAPP_MONITOR_CACHE (~/.cache/whatsapp-monitor).
# Standard output belongs to the command that runs; this script reports to
# standard error.

set -euo pipefail

start_folder=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")"

cache=${WHATSAPP_MONITOR_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/whatsapp-monitor}
wasm_target=wasm32-unknown-unknown
wasm_opt=node_modules/binaryen/bin/wasm-opt
rustup_bound_s=60

# A build must not depend on what the caller's shell happens to hold.
unset RUSTC RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET
export DENO_NO_UPDATE_CHECK=1

usage() {
  cat <<'END'
./build.sh [--force] [--out DIR]   build pkg/ and the SQL file, if they are older
                                   than the sources (--force: pkg/ always; --out:
                                   pkg/ into another folder, and nothing else)
./build.sh dev [...]               run the local stack; dev --help tells more
./build.sh test [--all]            run the tests that need no root and no server;
                                   --all: those too, and the freshness of pkg/
./build.sh bench [...]             measure; --database: what it costs the database,
                                   on Postgres 17; bench --help tells more
./build.sh help                    this text
END
}

say() { printf 'build: %s\n' "$*" >&2; }

die() {
  say "$*"
  exit 1
}

misused() {
  say "$1"
  usage >&2
  exit 2
}

# --- Node packages ----------------------------------------------------------

# node_modules "run": what the stack needs. "all": what a build needs, too.
# Sets deno to the binary: npm may refuse to run the script by which the
# package `deno` finds it.
node_modules() {
  local platform omit=--omit=dev
  command -v npm >/dev/null || die "Node.js 20 or newer is needed, with npm"
  case $(uname -s)-$(uname -m) in
    Linux-x86_64) platform=linux-x64-glibc ;;
    Linux-aarch64 | Linux-arm64) platform=linux-arm64-glibc ;;
    Darwin-x86_64) platform=darwin-x64 ;;
    Darwin-arm64) platform=darwin-arm64 ;;
    *) die "there is no Deno for $(uname -s) $(uname -m)" ;;
  esac
  deno=$PWD/node_modules/@deno/$platform/deno
  if [ ! -f "$deno" ] || ! node build/modules.mjs "$1"; then
    say "installing npm packages"
    if [ "$1" = all ]; then omit=--include=dev; fi
    npm ci --ignore-scripts "$omit" </dev/null >&2
  fi
  [ -x "$deno" ] || chmod +x "$deno"
}

# --- Rust -------------------------------------------------------------------

# Runs a command for so many seconds at most (macOS has no `timeout`).
bounded() {
  local seconds=$1 pid
  shift
  "$@" </dev/null >&2 &
  pid=$!
  while kill -0 "$pid" 2>/dev/null; do
    if [ "$seconds" -le 0 ]; then
      kill "$pid" 2>/dev/null
      wait "$pid" 2>/dev/null
      return 124
    fi
    seconds=$((seconds - 1))
    sleep 1
  done
  wait "$pid"
}

has_target() {
  [ -d "$(rustc --print target-libdir --target "$wasm_target" 2>/dev/null)" ]
}

# The distribution's compiler, if its sources are there, too.
packaged_rustc() {
  local rustc
  rustc=$(command -pv rustc) &&
    [ -f "$("$rustc" --print sysroot)/lib/rustlib/src/rust/library/std/Cargo.toml" ] &&
    printf '%s\n' "$rustc"
}

add_target() {
  local failed=$cache/rustup-target-failed
  command -v rustup >/dev/null || return 1
  if [ -n "$(find "$failed" -mtime -1 2>/dev/null)" ]; then
    say "rustup could not add $wasm_target within the last day: not tried again"
    return 1
  fi
  say "rustup target add $wasm_target ($rustup_bound_s s at most)"
  if bounded "$rustup_bound_s" rustup target add "$wasm_target"; then
    rm -f "$failed"
  else
    mkdir -p "$cache"
    touch "$failed"
    return 1
  fi
}

install_packaged_rust() {
  local packages="rustc-web rust-web-src"
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "apt-get install $packages"
    apt-get update </dev/null >&2
    # Word splitting is wanted: two packages.
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -y \
      --no-install-recommends $packages </dev/null >&2
  else
    say "no Rust for $wasm_target here. One of these installs it:"
    say "  rustup target add $wasm_target"
    say "  sudo apt-get install --no-install-recommends $packages"
    exit 1
  fi
}

# Chooses the compiler. Sets rustc; in the environment, what Cargo needs for
# it; in build_std, Cargo's flags if the standard library must be built along.
rust() {
  local sysroot host
  command -v cargo >/dev/null ||
    die "Rust is needed to build pkg/: https://rustup.rs"
  build_std=()
  if has_target; then
    rustc=$(command -v rustc)
  elif rustc=$(packaged_rustc); then
    :
  elif add_target; then
    rustc=$(command -v rustc)
  else
    install_packaged_rust
    rustc=$(packaged_rustc) || die "the packaged Rust lacks its sources"
  fi

  sysroot=$(rustc --print sysroot)
  if ! has_target; then
    host=$(rustc -vV | sed -n 's/^host: //p')
    export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=$sysroot/lib/rustlib/$host/bin/rust-lld
    [ -x "$CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER" ] ||
      die "the packaged Rust needs rustup's linker: https://rustup.rs"
    # A stable compiler builds its own standard library only when it is told
    # that it may use unstable features.
    export RUSTC=$rustc RUSTC_BOOTSTRAP=1
    build_std=(-Z "build-std=std,panic_abort")
  fi

  RUST_SYSROOTS=$(printf '%s\n' "$sysroot" "$("$rustc" --print sysroot)")
  RUSTC_VERSION=$("$rustc" --version)
  CARGO_VERSION=$(cargo --version)
  export RUST_SYSROOTS RUSTC_VERSION CARGO_VERSION
}

# With the ordinary compiler: what rust() exports is for the module.
install_bindgen() {
  local version=$1 folder=$2
  shift 2
  env -u RUSTC -u RUSTC_BOOTSTRAP -u CARGO_TARGET_DIR \
    cargo install wasm-bindgen-cli --version "=$version" --root "$folder" "$@" \
    </dev/null >&2
}

wasm_bindgen() {
  local version folder
  version=$(awk '/^name = "wasm-bindgen"$/ { getline; gsub(/[^0-9.]/, ""); print }' Cargo.lock)
  folder=$cache/wasm-bindgen-$version
  bindgen=$folder/bin/wasm-bindgen
  if [ ! -x "$bindgen" ]; then
    say "installing wasm-bindgen $version (some minutes, once)"
    # With the dependencies its authors locked; with others where the registry
    # in use lacks one of them.
    install_bindgen "$version" "$folder" --locked ||
      install_bindgen "$version" "$folder"
  fi
  WASM_BINDGEN_VERSION=$("$bindgen" --version)
  export WASM_BINDGEN_VERSION
}

# --- The build --------------------------------------------------------------

# flags NAME: sets the array `flags` to those of that tool.
flags() {
  local flag
  flags=()
  while IFS= read -r flag; do flags+=("$flag"); done < <(node build/inputs.mjs flags "$1")
}

# cargo_wasm COMMAND TARGET_FOLDER [FLAG…]: cargo for the edge.
cargo_wasm() {
  local command=$1 folder=$2
  shift 2
  # The folders to remap are named after what has been fetched.
  cargo fetch --locked --target "$wasm_target" </dev/null >&2
  flags cargo
  CARGO_ENCODED_RUSTFLAGS=$(node build/paths.mjs) CARGO_TARGET_DIR=$folder \
    cargo "$command" "${flags[@]}" ${build_std[@]+"${build_std[@]}"} "$@" </dev/null >&2
}

# finish MODULE GLUE_FOLDER OPTIMIZED: what cargo made, with its glue, and small.
finish() {
  local module=$1 glue=$2 optimized=$3
  rm -rf "$glue"
  flags wasm_bindgen
  "$bindgen" "${flags[@]}" --out-dir "$glue" "$module" >&2
  flags wasm_opt
  node "$wasm_opt" "${flags[@]}" "$glue/whatsapp_monitor_bg.wasm" -o "$optimized" >&2
}

build() {
  local out=$1 hash module=target/wasm/$wasm_target/release/whatsapp_monitor
  local glue=target/wasm/bindgen optimized=target/wasm/whatsapp_monitor_opt.wasm

  say "building $out"
  node_modules all
  rust
  wasm_bindgen
  hash=$(node build/inputs.mjs hash)

  say "compiling with $RUSTC_VERSION (about a minute)"
  cargo_wasm build target/wasm

  finish "$module.wasm" "$glue" "$optimized"
  WASM_OPT_VERSION=$(node "$wasm_opt" --version)
  export WASM_OPT_VERSION

  node build/pack.mjs "$glue" "$optimized" "$module.d" "$out" "$hash"
  say "wrote $out"
}

build_if_stale() {
  if node build/inputs.mjs fresh "$1" "$1/" 2>/dev/null; then return; fi
  build "$1"
}

build_command() {
  local out=pkg force=
  while [ $# -gt 0 ]; do
    case $1 in
      --force) force=yes ;;
      --out)
        [ -n "${2-}" ] || misused "--out needs a folder"
        case $2 in
          /*) out=$2 ;;
          *) out=$start_folder/$2 ;;
        esac
        shift
        ;;
      *) misused "unknown option: $1" ;;
    esac
    shift
  done
  command -v node >/dev/null || die "Node.js 20 or newer is needed"
  if [ "$out" = pkg ]; then node build/sql.mjs write; fi
  if [ -n "$force" ]; then build "$out"; else build_if_stale "$out"; fi
}

dev() {
  node_modules run
  build_if_stale pkg
  # The embedded Postgres is WebAssembly too: optimizing it in the background
  # makes the first ticks stop for seconds.
  DENO_V8_FLAGS=--liftoff-only exec "$deno" run --allow-all tests/stack/dev.ts "$@"
}

# On Postgres 17 where it can be had, else on the one that is installed.
bench_database() {
  local bench=("$deno" run --allow-all --no-check tests/bench/bench.ts "$@")
  # shellcheck source=build/postgres.sh
  . build/postgres.sh
  if [ -n "${DATABASE-}" ]; then
    say "measuring on the server that DATABASE names"
    "${bench[@]}"
  elif may_have_postgres_17; then
    # In a shell of its own, because what it leaves half done is removed at its end.
    (install_postgres_17 >&2)
    with_postgres_17 -- "${bench[@]}"
  else
    say "Postgres 17 takes root and debootstrap: measuring on the installed Postgres"
    with_postgres -- "${bench[@]}"
  fi
}

# The naive module is made by the same tools, with the same flags.
bench() {
  local naive=target/bench
  node_modules all
  build_if_stale pkg
  case " $* " in
    *" --help "*) exec "$deno" run --allow-all --no-check tests/bench/bench.ts --help ;;
    *" --database "*)
      bench_database "$@"
      return
      ;;
  esac
  rust
  wasm_bindgen
  cargo_wasm build "$naive" --manifest-path tests/bench/naive/Cargo.toml
  finish "$naive/$wasm_target/release/naive.wasm" "$naive/naive" "$naive/naive.wasm"
  printf 'export default "%s";\n' "$(base64 <"$naive/naive.wasm" | tr -d '\n')" \
    >"$naive/naive/wasm.js"
  exec "$deno" run --allow-all --no-check tests/bench/bench.ts "$@"
}

case ${1-} in
  '' | --force | --out) build_command "$@" ;;
  dev)
    shift
    dev "$@"
    ;;
  test)
    shift
    # shellcheck source=build/test.sh
    . build/test.sh
    run_tests "$@"
    ;;
  bench)
    shift
    bench "$@"
    ;;
  help | --help | -h) usage ;;
  *) misused "unknown command: $1" ;;
esac
