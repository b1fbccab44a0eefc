#!/usr/bin/env bash
# Runs each fuzz target for some seconds: scripts/fuzz.sh [SECONDS]. What it finds stays in fuzz/artifacts; keep it
# as a test.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-20}
rustup toolchain list | grep -q '^nightly' || rustup toolchain install nightly --profile minimal
command -v cargo-fuzz > /dev/null || cargo install --quiet --locked cargo-fuzz
for target in $(cargo +nightly fuzz list); do
    echo "fuzz target $target, $seconds s"
    cargo +nightly fuzz run "$target" -- -max_total_time="$seconds" -print_final_stats=0 -verbosity=0
done
