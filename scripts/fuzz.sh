#!/usr/bin/env bash
# Runs each fuzz target for some seconds, as many at a time as there are cores: scripts/fuzz.sh [SECONDS]. What it finds
# stays in fuzz/artifacts; keep it as a test.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-20}
rustup toolchain list | grep -q '^nightly' || rustup toolchain install nightly --profile minimal
command -v cargo-fuzz > /dev/null || cargo install --quiet --locked cargo-fuzz
# All at once, so that each has only to be started then.
cargo +nightly fuzz build --target-dir target/fuzz
cargo +nightly fuzz list | xargs -P "$(nproc)" -I TARGET sh -c '
    said=$(cargo +nightly fuzz run --target-dir target/fuzz TARGET -- -max_total_time='"$seconds"' -print_final_stats=0 -verbosity=0 2>&1) ||
        { echo "fuzz target TARGET failed"; echo "$said"; exit 1; }
    echo "fuzz target TARGET, '"$seconds"' s"'
