#!/usr/bin/env bash
# The crate borders of docs/architecture/overview.md, checked on the resolved dependency graph.
# Prints every breach and exits 1 if there is one.
set -euo pipefail
cd "$(dirname "$0")/.."
failed=0
# An error inside $(…) of a loop would pass for "nothing found": make sure the graph resolves at all.
host=$(rustc -vV | awk '$1 == "host:" {print $2}')
cargo metadata --locked --format-version 1 --filter-platform "$host" >/dev/null
breach() { printf 'border: %s\n' "$*" >&2; failed=1; }

# Names of the workspace's crates that depend on $1 directly.
dependents() {
  cargo tree --workspace --locked -e normal,build -i "$1" --depth 1 --prefix none 2>/dev/null |
    awk '$1 ~ /^kalamdb-/ {print $1}' | sort -u
}

# Names of the workspace's crates that $1 names.
uses() {
  cargo tree --locked -p "$1" -e normal,build --depth 1 --prefix none |
    awk -v self="$1" '$1 ~ /^kalamdb-/ && $1 != self {print $1}' | sort -u
}

for crate in $(dependents rocksdb); do
  [ "$crate" = kalamdb-store ] || breach "$crate names rocksdb; only kalamdb-store may"
done
for crate in $(dependents ractor); do
  case "$crate" in kalamdb-core | kalamdb-live) ;; *) breach "$crate names ractor; only the actors' crates may" ;; esac
done
for crate in $(dependents warp); do
  [ "$crate" = kalamdb-server ] || breach "$crate names warp; only kalamdb-server may"
done
for crate in $(dependents object_store); do
  [ "$crate" = kalamdb-segments ] || breach "$crate names object_store; only kalamdb-segments may"
done
if grep -nE '^(rocksdb|datafusion|arrow|arrow-schema|parquet|object_store|sqlparser|kalamdb-store|kalamdb-sql)\b' server/Cargo.toml; then
  breach 'server/Cargo.toml names the engine or the storage; it only translates frames'
fi
# backend.rs re-exports what its module of that name makes; the store's own tests open foreign directories.
if git grep -nE '^\s*(pub )?use rocksdb|rocksdb::' -- '*.rs' \
  ':!storage/store/src/backend/rocksdb*' ':!storage/store/src/backend.rs' ':!storage/store/tests/*'; then
  breach 'RocksDB is named outside storage/store/src/backend/rocksdb'
fi

# What each crate may name; every arrow points one way.
allowed() {
  case "$1" in
    kalamdb-commons) echo '' ;;
    kalamdb-sql | kalamdb-wire) echo 'kalamdb-commons' ;;
    kalamdb-store) echo 'kalamdb-commons kalamdb-sql' ;;
    kalamdb-segments) echo 'kalamdb-commons kalamdb-sql kalamdb-store' ;;
    kalamdb-live) echo 'kalamdb-commons kalamdb-sql kalamdb-wire kalamdb-store' ;;
    kalamdb-core) echo 'kalamdb-commons kalamdb-sql kalamdb-wire kalamdb-store kalamdb-segments kalamdb-live' ;;
    kalamdb-server) echo 'kalamdb-commons kalamdb-wire kalamdb-core' ;;
  esac
}
for crate in kalamdb-commons kalamdb-sql kalamdb-wire kalamdb-store kalamdb-segments kalamdb-live kalamdb-core kalamdb-server; do
  for used in $(uses "$crate"); do
    case " $(allowed "$crate") " in
      *" $used "*) ;;
      *) breach "$crate depends on $used" ;;
    esac
  done
done

# The codecs of segments need no engine, and their tests build without one.
if cargo tree --locked -p kalamdb-segments -e normal --prefix none | grep -qE '^(rocksdb|datafusion) '; then
  breach 'kalamdb-segments pulls in rocksdb or datafusion'
fi

# One copy of what must be one (ADR 002).
for crate in arrow arrow-schema parquet object_store sqlparser datafusion; do
  copies=$(cargo tree --workspace --locked -e normal --prefix none 2>/dev/null |
    awk -v name="$crate" '$1 == name {print $2}' | sort -u | wc -l)
  [ "$copies" -le 1 ] || breach "$copies versions of $crate in one build"
done
[ "$failed" -eq 0 ] && printf 'borders hold\n'
exit "$failed"
