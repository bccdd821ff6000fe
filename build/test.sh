# `./build.sh test`: sourced by build.sh. Every step runs, whatever the others
# gave; the last line is the sum.
# shellcheck shell=bash disable=SC2154

# shellcheck source=build/postgres.sh
. build/postgres.sh

passed=0
failed=0
tests_run=0

# Runs a command in a shell of its own, shows what it prints, keeps it in $log.
# Not to be called in a condition: there `set -e` is off, in functions too.
attempt() {
  printf '\n== %s\n' "$1"
  shift
  (
    set -e
    "$@"
  ) </dev/null 2>&1 | tee "$log"
  status=${PIPESTATUS[0]}
}

# check NAME COMMAND…: a static check, which counts as one test.
check() {
  attempt "$@"
  if [ "$status" -eq 0 ]; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    printf 'FAILED: %s\n' "$1"
  fi
}

# suite NAME COMMAND…: a test runner; its summary lines are counted, which are
#   test result: ok. 3 passed; 0 failed; …        (cargo)
#   ok | 3 passed (2 steps) | 0 failed (12ms)     (deno; a step is a test)
suite() {
  local counts p f
  attempt "$@"
  counts=$(awk '
    /^test result: |^(ok|FAILED) \| / {
      gsub(/[^A-Za-z0-9]/, " ")
      for (i = 2; i <= NF; i++) {
        if ($i == "passed" || $i == "failed" || $i == "ignored") what = $i
        if ($i == what || $i ~ /^steps?$/) n[what] += $(i - 1)
      }
      what = ""
    }
    END { print n["passed"] + 0, n["failed"] + 0 }' "$log")
  p=${counts% *}
  f=${counts#* }
  # What did not compile, or crashed, has counted nothing.
  if [ "$status" -ne 0 ] && [ "$f" -eq 0 ]; then f=1; fi
  passed=$((passed + p))
  failed=$((failed + f))
  tests_run=$((tests_run + p))
  if [ "$f" -gt 0 ]; then printf 'FAILED: %s\n' "$1"; fi
}

native_clippy() {
  cargo clippy --version >/dev/null 2>&1 ||
    die "clippy is missing: rustup component add clippy"
  cargo clippy --locked --all-targets -- -D warnings
}

# The compiler that makes pkg/, and the clippy that belongs to it.
wasm_clippy() {
  rust
  if [ ${#build_std[@]} -gt 0 ]; then
    [ -x "$(dirname "$rustc")/cargo-clippy" ] ||
      die "the packaged Rust lacks clippy: apt-get install rust-web-clippy"
    PATH=$(dirname "$rustc"):$PATH
  fi
  cargo_wasm clippy target/wasm-clippy -- -D warnings
}

# scripts COMMAND…: with all our files of these kinds. Prose is left alone, its
# tables are wider than code may be; pkg/ is as wasm-bindgen makes it.
scripts() {
  find build frontend supabase tests \( -name '*.ts' -o -name '*.mjs' -o -name '*.js' \) \
    -not -path '*/node_modules/*' -print0 | xargs -0 "$@"
}

# pkg/ is what its sources give, not only marked with their hash.
rebuild() {
  bash build.sh --force --out target/pkg-again
  node build/same.mjs pkg target/pkg-again
}

# on_server TESTS COMMAND…: the tests on the server that the command starts.
on_server() {
  local tests=$1
  shift
  "$@" -- "$deno" test --allow-all --no-check "$tests"
}

run_tests() {
  local all=''
  case ${1-} in
    '') ;;
    --all) all=yes ;;
    *) misused "unknown option: $1" ;;
  esac
  set +e
  unset DATABASE
  # As for `dev`: the embedded Postgres is not worth optimizing.
  export NO_COLOR=1 CARGO_TERM_COLOR=never DENO_V8_FLAGS=--liftoff-only
  log=$(mktemp)
  trap 'rm -f "$log"' EXIT

  # With --all an old pkg/ is an error that a test reports, because it would
  # be committed; otherwise it is simply rebuilt.
  node_modules all
  if [ -z "$all" ]; then
    check "pkg/ and the SQL file up to date" bash build.sh
  fi

  check "cargo fmt" cargo fmt --check
  check "cargo clippy" native_clippy
  suite "cargo test" cargo test --locked --no-fail-fast
  check "deno fmt" scripts "$deno" fmt --check
  check "deno lint" scripts "$deno" lint
  check "deno check" scripts "$deno" check
  suite "the package" "$deno" test --allow-all --no-check tests/build
  suite "the function from outside" "$deno" test --allow-all --no-check tests/outside

  if [ "$all" ]; then
    check "cargo clippy for $wasm_target" wasm_clippy
    check "pkg/ built again gives the same bytes" rebuild
    suite "the deployment" "$deno" test --allow-all --no-check tests/deploy
    suite "a frontend in a real browser" "$deno" test --allow-all --no-check tests/browser
    suite "the function from outside, on an installed Postgres" \
      on_server tests/outside with_postgres
    check "Postgres 17" install_postgres_17
    suite "the function from outside, on Postgres 17" \
      on_server tests/outside with_postgres_17
    # pg_cron lives in one database of a server, and calls it as any client does.
    suite "the real pg_cron" \
      on_server tests/cron with_postgres_17 \
      --set shared_preload_libraries=pg_cron --set cron.database_name=postgres \
      --set cron.host=127.0.0.1
  fi

  if [ "$tests_run" -eq 0 ]; then printf '\nNo test ran.\n'; fi
  printf '\n%s passed, %s failed\n' "$passed" "$failed"
  [ "$failed" -eq 0 ] && [ "$tests_run" -gt 0 ]
  exit
}
