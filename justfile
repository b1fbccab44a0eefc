# What CI runs, exactly.
ci:
    .ci/run

# The fast part: before each commit.
check:
    cargo fmt --check
    cargo clippy --all-targets -- -D warnings
    cargo test --quiet

# Seconds of fuzzing for each target.
fuzz seconds="20":
    scripts/fuzz.sh {{seconds}}

# Completions and man pages, into target/assets.
assets:
    scripts/assets.sh

bench:
    cargo bench
