#!/usr/bin/env bash
# Builds the fuzz targets of tests/fuzz and runs each for a while.
#
#   .ci/fuzz.sh check                        at most 5 seconds each, all targets, always from the same start
#   .ci/fuzz.sh [SECONDS_EACH] [TARGET...]   goes on from the corpus found so far, in directions never taken
#
# A change is judged by the first form: what it finds lies in the change, not in the luck of that run.
# Build output, corpora and what breaks a target go below CARGO_TARGET_DIR; nothing is written in the
# checkout. On stable Rust there are no sanitizers: targets find panics, broken promises, endless loops and
# memory that grows. Where the toolchain cannot do even that, one line says so and nothing is run.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds="${1:-10}"
always_same=
[ "$seconds" != check ] || { always_same=yes; seconds=5; }
[ "$#" -eq 0 ] || shift
export PATH="$HOME/.cargo/bin:$PATH"
dir="$(realpath -m "${CARGO_TARGET_DIR:-target}")/fuzz"
host="$(rustc -vV | awk '$1 == "host:" {print $2}')"
skip() { printf 'fuzz: skipped: %s\n' "$*"; exit 0; }

cargo fmt --manifest-path tests/fuzz/Cargo.toml --check
cargo metadata --locked --no-deps --format-version 1 --manifest-path tests/fuzz/Cargo.toml >/dev/null

mkdir -p "$dir"
# A library: a program would want libFuzzer's own functions.
printf 'pub fn probe() {}' | rustc --crate-type lib -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
  -o "$dir/probe.rlib" - 2>/dev/null || skip 'this Rust toolchain cannot instrument code for libFuzzer'
if ! cargo fuzz --version >/dev/null 2>&1; then
  printf 'fuzz: installing cargo-fuzz, once, a minute or two\n' >&2
  CARGO_TARGET_DIR="$dir/install" cargo install --locked cargo-fuzz </dev/null >&2 || skip "cargo-fuzz could not be installed"
  rm -rf "$dir/install"
fi

targets=("$@")
[ "${#targets[@]}" -gt 0 ] || mapfile -t targets < <(cargo fuzz list --fuzz-dir tests/fuzz)
# Some versions of cargo-fuzz pass flags that stable takes only with this.
RUSTC_BOOTSTRAP=1 cargo fuzz build --fuzz-dir tests/fuzz --sanitizer none --target-dir "$dir" >&2

failed=0
for target in "${targets[@]}"; do
  corpus="$dir/corpus/$target"
  [ -z "$always_same" ] || { corpus="$dir/check/$target"; rm -rf "$corpus"; }
  seeds="tests/fuzz/seeds/$target"
  log="$dir/$target.log"
  mkdir -p "$corpus" "$dir/found"
  program="$dir/$host/release/$target"
  inputs=("$corpus")
  [ ! -d "$seeds" ] || inputs+=("$seeds")
  limits=(-max_len=4096 -timeout=10 -rss_limit_mb=2048 -malloc_limit_mb=512)
  [ -z "$always_same" ] || limits+=(-seed=1)
  if "$program" "${inputs[@]}" "${limits[@]}" -max_total_time="$seconds" -print_final_stats=1 \
    -artifact_prefix="$dir/found/$target-" >"$log" 2>&1; then
    runs="$(awk '$1 == "stat::number_of_executed_units:" {print $2}' "$log")"
    printf 'fuzz: %-11s %10s executions, %5s inputs kept\n' "$target" "$runs" "$(find "$corpus" -type f | wc -l)"
  else
    failed=1
    tail -n 40 "$log"
    printf 'fuzz: %s FAILED; again with: %s FILE, where FILE is named above\n' "$target" "$program"
  fi
  # Only what reaches something that nothing else reaches.
  if [ "$(find "$corpus" -type f | wc -l)" -gt 3000 ]; then
    rm -rf "$corpus.small" && mkdir "$corpus.small"
    "$program" -merge=1 "$corpus.small" "$corpus" >>"$log" 2>&1 && rm -rf "$corpus" && mv "$corpus.small" "$corpus"
  fi
done
exit "$failed"
