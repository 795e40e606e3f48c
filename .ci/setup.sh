#!/usr/bin/env bash
# Makes sure everything a build needs is on this machine, beside the Rust toolchain itself.
#
#   .ci/setup.sh build   what `make run` needs: a C++ compiler, make, libclang with its headers
#   .ci/setup.sh test    the same, cargo-nextest, and where it can be had Chromium, for the test of the browser example
#   .ci/setup.sh ci      the same, and rustfmt and clippy
#
# Missing system packages are installed with apt-get where that needs no password; elsewhere one line
# names them and the script stops. It touches nothing that is already there.
set -euo pipefail
level="${1:-build}"

die() { printf 'setup: %s\n' "$*" >&2; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }

# Any file that one of the given patterns matches.
any_file() { compgen -G "$1" >/dev/null 2>&1; }

# bindgen loads libclang at build time and needs the compiler's own headers (stddef.h) beside it.
has_libclang() {
  local found=""
  for pattern in "${LIBCLANG_PATH:-/nonexistent}/libclang*" \
    "/usr/lib/llvm-*/lib/libclang*.so*" "/usr/lib/*/libclang*.so*" "/usr/lib64/libclang*.so*" \
    "/usr/lib/libclang*.so*" "/usr/local/lib/libclang*.so*" "/usr/lib64/llvm*/lib*/libclang*.so*" \
    "/opt/homebrew/opt/llvm/lib/libclang*" "/usr/local/opt/llvm/lib/libclang*" \
    "/Library/Developer/CommandLineTools/usr/lib/libclang*" \
    "/Applications/Xcode.app/Contents/Developer/Toolchains/XcodeDefault.xctoolchain/usr/lib/libclang*"; do
    if any_file "$pattern"; then found=1; break; fi
  done
  [ -n "$found" ] || return 1
  [ "$(uname -s)" = Linux ] || return 0
  for pattern in "/usr/lib/llvm-*/lib/clang/*/include/stddef.h" "/usr/lib*/clang/*/include/stddef.h" \
    "/usr/local/lib/clang/*/include/stddef.h" "/usr/lib64/llvm*/lib*/clang/*/include/stddef.h" \
    "${LIBCLANG_PATH:-/nonexistent}/clang/*/include/stddef.h"; do
    any_file "$pattern" && return 0
  done
  return 1
}

# The rustup directory may not be on the path of a fresh shell.
has cargo || [ ! -r "$HOME/.cargo/env" ] || . "$HOME/.cargo/env"
has cargo || die "no Rust toolchain: install one from https://rustup.rs and run this again"

missing=()
has c++ || has g++ || has clang++ || missing+=(g++)
has cc || has gcc || has clang || missing+=(gcc)
has make || missing+=(make)
has_libclang || missing+=(libclang-dev)
[ "$level" = build ] || has curl || missing+=(curl)

# How to become root without a password, in as_root.
as_root=()
find_root() {
  [ "$(id -u)" -ne 0 ] || return 0
  has sudo && sudo -n true 2>/dev/null && as_root=(sudo -n)
}

install_packages() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq </dev/null >&2 || true
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "$@" </dev/null >&2
}

if [ "${#missing[@]}" -gt 0 ]; then
  if has apt-get && find_root; then
    printf 'setup: installing %s\n' "${missing[*]}" >&2
    install_packages "${missing[@]}" libc6-dev ||
      die "apt-get could not install: ${missing[*]} (Debian's names); install them and run this again"
  else
    die "missing: ${missing[*]} (Debian's names); install them with your package manager and run this again"
  fi
fi

[ "$level" != build ] || exit 0
has_browser() {
  has chromium || has chromium-browser || has google-chrome || has google-chrome-stable ||
    [ -x "${KALAMDB_CHROMIUM:-}" ] || [ -x "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome" ]
}
# Not needed by anything else, so its lack stops nothing here; the test fails where CI is set, and says that it is skipped elsewhere.
if ! has_browser; then
  if find_root && has apt-get; then
    printf 'setup: installing chromium, once\n' >&2
    install_packages chromium || true
  fi
  has_browser || printf 'setup: no Chromium here; the test of the browser example fails where CI is set, and is skipped elsewhere\n' >&2
fi
if ! cargo nextest --version >/dev/null 2>&1; then
  printf 'setup: installing cargo-nextest, once, a few minutes\n' >&2
  cargo install --locked cargo-nextest </dev/null >&2 ||
    die "cargo-nextest could not be installed: see https://nexte.st, then run this again"
fi

[ "$level" = ci ] || exit 0
for component in fmt clippy; do
  cargo "$component" --version >/dev/null 2>&1 && continue
  name="$component"; [ "$component" != fmt ] || name=rustfmt
  rustup component add "$name" </dev/null >&2 || die "missing: the Rust component $name"
done
