#!/usr/bin/env bash
# Writes shell completions and man pages of the release build into target/assets, for packages.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release --locked
out=target/assets
mkdir -p "$out"
target/release/kaneda completions bash > "$out/kaneda.bash"
target/release/kaneda completions zsh > "$out/_kaneda"
target/release/kaneda completions fish > "$out/kaneda.fish"
target/release/kaneda man > "$out/kaneda.1"
for command in run check send parse health; do
    target/release/kaneda man "$command" > "$out/kaneda-$command.1"
done
ls "$out"
