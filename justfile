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

# The promises of docs/reliability.md: how often it is killed, for how many seconds a store is away.
crash rounds="100":
    cargo build --release --locked
    KANEDA_TEST_BINARY=$PWD/target/release/kaneda KANEDA_PROOF_ROUNDS={{rounds}} cargo test --locked --test proof -- --nocapture crash

outage seconds="300":
    cargo build --release --locked
    KANEDA_TEST_BINARY=$PWD/target/release/kaneda KANEDA_PROOF_OUTAGE={{seconds}} cargo test --locked --test proof -- --nocapture outage

# A steady load with a fault every minute.
soak seconds="3600":
    cargo build --release --locked
    KANEDA_TEST_BINARY=$PWD/target/release/kaneda KANEDA_PROOF_SOAK={{seconds}} KANEDA_PROOF_FAULT=60 cargo test --locked --test proof -- --nocapture soak

# Completions and man pages, into target/assets.
assets:
    scripts/assets.sh

bench:
    cargo bench
